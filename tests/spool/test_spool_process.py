"""The spool with its real process, as the daemon has it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from runtime.events import Events
from runtime.link.errors import Refused
from runtime.spool.files import Files
from runtime.spool.layout import Class, folders
from runtime.spool.spool import Spool
from tests.spool.segments import make_segment, tree
from tests.spool.server import CREDENTIALS, s3, upload

DATA, ENDS = make_segment()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("obstore", reason="the package obstore (extra upload) is not installed")
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with s3() as url:
        yield url


@asynccontextmanager
async def running(root: Path, upload: dict[str, Any] | None = None) -> AsyncIterator[tuple[Spool, Events]]:
    events = Events()
    settings = {
        "directory": str(root),
        "size_max": 10**9,
        "free_min": 0,
        "cpus": [],
        "robot": "r",
        "upload": upload,
    }
    spool = Spool(events, settings)
    spool.start()
    try:
        yield spool, events
    finally:
        await spool.close()


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def put(root: Path, where: str, data: bytes = DATA) -> None:
    Files().prepare(folders(root))
    (root / where).write_bytes(data)


async def test_what_was_cut_off_is_on_the_server_in_the_end(tmp_path: Path, server: str) -> None:
    put(tmp_path, "open/r-1.mcap", DATA[: ENDS[1] + 9])
    async with running(tmp_path, upload(server)) as (spool, events):
        await until(lambda: spool.status and spool.status["sent"])
        assert (events.counts["spool.recovered"], events.counts["upload.sent"]) == (1, 1)
        assert events.recent[-1].fields["key"].startswith("fleet=f/robot=r/date=1970-01-01/class=bulk/r-1-")
    assert list(tree(tmp_path)) == ["sent/bulk/r-1.mcap"]


async def test_keep_and_send_now(tmp_path: Path, server: str) -> None:
    put(tmp_path, "ready/bulk/r-1.mcap")
    # All day long it is quiet.
    when = dict.fromkeys(map(str, Class), "unmetered")
    polite = upload(server, quiet_hours=["00:00-12:00", "12:00-00:00"], when=when)
    async with running(tmp_path, polite) as (spool, _):
        await until(lambda: spool.status and spool.status["upload"])
        await spool.request("keep", segment="r-1")
        assert list(tree(tmp_path)) == ["ready/bulk/r-1.keep.mcap"]
        with pytest.raises(Refused, match="r-2"):
            await spool.request("keep", segment="r-2")
        await until(lambda: spool.status is not None and spool.status["upload"]["restricted"])
        assert await spool.request("send_now") == {"segments": 1}
        await until(lambda: list(tree(tmp_path)) == ["sent/bulk/r-1.keep.mcap"])


async def test_a_config_that_the_library_refuses_stops_the_upload_alone(tmp_path: Path, server: str) -> None:
    put(tmp_path, "open/r-1.mcap")
    async with running(tmp_path, upload(server, url="s3://")) as (spool, events):
        await until(lambda: events.counts["upload.failed"] and spool.status)
        with pytest.raises(Refused, match="nothing is uploaded"):
            await spool.request("send_now")
    assert list(tree(tmp_path)) == ["ready/bulk/r-1.mcap"]


async def test_a_process_that_is_killed_is_replaced_and_whoever_waits_is_told(tmp_path: Path) -> None:
    async with running(tmp_path) as (spool, events):
        await until(lambda: spool.status)
        assert spool.pid is not None
        os.kill(spool.pid, signal.SIGKILL)
        await until(lambda: events.counts["spool.failed"] == 1)
        with pytest.raises(Refused, match="not running"):
            await spool.request("keep", segment="r-1")
        put(tmp_path, "open/r-1.mcap")
        await until(lambda: list(tree(tmp_path)) == ["ready/bulk/r-1.mcap"])


@pytest.mark.parametrize("message", [b"", b"\xc1", b"\x93\x01\x02\x03", bytes(8192), b"\x81\xa5event\x01"])
async def test_a_message_that_makes_no_sense_is_told_and_harms_nobody(tmp_path: Path, message: bytes) -> None:
    events = Events()
    Spool(events, {})._on_message(message)
    assert events.counts["spool.failed"] == 1


async def test_two_robots_with_one_folder_are_told(tmp_path: Path) -> None:
    async with running(tmp_path) as (first, _):
        await until(lambda: first.status)
        async with running(tmp_path) as (_, events):
            await until(lambda: events.counts["spool.failed"])
            assert "recording.directory" in events.recent[-1].message
