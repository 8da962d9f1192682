"""Plain HTTP against a real nginx: what it refuses is not sent, what it has is there once, also over restarts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.spool.nginx import AUTHORIZATION, NGINX, PASSWORD, Nginx

pytest.importorskip("obstore", reason="the package obstore (extra upload) is not installed")
if NGINX is None:
    pytest.skip("nginx is not installed: apt-get install nginx-light", allow_module_level=True)

from runtime.spool.upload import uploader as uploader_module
from runtime.spool.upload.store import Store
from runtime.spool.upload.sums import PART
from tests.spool.segments import make_segment
from tests.spool.test_upload import Robot, put, sent, until

DATA, _ = make_segment()


@pytest.fixture
def nginx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nginx]:
    monkeypatch.setenv("UPLOAD_AUTHORIZATION", AUTHORIZATION)
    monkeypatch.setattr(uploader_module, "_FIRST_S", 0.05)
    monkeypatch.setattr(uploader_module, "_LONGEST_S", 0.1)
    monkeypatch.setattr(uploader_module, "_LOOK_S", 0.02)
    made = Nginx(tmp_path / "nginx")
    yield made
    made.close()


def make(tmp_path: Path, nginx: Nginx) -> Robot:
    root = tmp_path / "spool"
    put(root, "ready/bulk/r-1.mcap")
    # The library's own attempts only take time here.
    return Robot(root, Store(f"{nginx.url}/robots", None, None, "checksum", None, retries=0))


def stored(nginx: Nginx) -> dict[str, bytes]:
    found = {path.name: path.read_bytes() for path in nginx.objects.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.endswith(".json")}


@pytest.mark.parametrize("status", [401, 403, 412, 500, 507])
async def test_what_nginx_refuses_stays_and_goes_later(tmp_path: Path, nginx: Nginx, status: int) -> None:
    robot = make(tmp_path, nginx)
    nginx.refuse(status)
    async with robot.running():
        await until(lambda: len(nginx.puts()) >= 2)
        assert sent(robot.root) == []
        assert robot.told == ["upload.failed"]
        assert str(status) in robot.messages[0]
        nginx.refuse(0)
        await until(lambda: sent(robot.root))
    assert list(stored(nginx).values()) == [DATA]


async def test_a_wrong_password_is_told_without_itself(
    tmp_path: Path, nginx: Nginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPLOAD_AUTHORIZATION", AUTHORIZATION[:-4] + "AAAA")
    robot = make(tmp_path, nginx)
    async with robot.running():
        await until(lambda: robot.told)
    assert sent(robot.root) == []
    assert "401" in robot.messages[0]
    assert PASSWORD not in robot.messages[0]
    assert AUTHORIZATION[6:-4] not in robot.messages[0]
    assert stored(nginx) == {}


async def test_each_is_there_once_though_nginx_restarts_in_the_middle(tmp_path: Path, nginx: Nginx) -> None:
    robot = make(tmp_path, nginx)
    big = DATA + os.urandom(2 * PART)
    put(robot.root, "ready/safety/r-0.mcap", big)
    async with robot.running():
        for count in (1, 2, 3):
            await until(lambda count=count: len(nginx.puts()) >= count)  # type: ignore[misc]
            nginx.close()
            nginx.start()
        await until(lambda: len(sent(robot.root)) == 2)
    found = stored(nginx)
    assert sorted(name[:3] for name in found) == ["r-0"] * 3 + ["r-1"]
    assert b"".join(found[name] for name in sorted(found) if name.startswith("r-0")) == big
    created = [told for told in nginx.puts() if told.endswith(" 201")]
    assert len(created) == len(set(created)), "nothing that was there was sent again"
