"""The upload against servers that others wrote: Azurite, Microsoft's emulator of Azure, and the S3 of rclone."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest

from runtime.spool.upload.store import Store
from tests.peers.conftest import ROOT
from tests.spool.test_upload import DATA, PART, Robot, put, sent, until

CONTAINER = "recordings"
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own; every copy of it has the same."""


@dataclass(frozen=True)
class Cloud:
    """A server that runs, and what opens it."""

    store: Callable[[], Store]
    right: Mapping[str, str]
    """Credentials, as environment variables."""
    wrong: Mapping[str, str]


@pytest.fixture(params=["azurite", "rclone"])
def cloud(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cloud]:
    folder = ROOT / f".venv-peers-{request.param}"
    if not (folder / "done").exists():
        pytest.skip(f"{folder.name} is not there, and with it {request.param}: make test-peers makes it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with {"azurite": azurite, "rclone": rclone}[request.param](folder, tmp_path / "server", port) as found:
        yield found


@contextmanager
def azurite(folder: Path, data: Path, port: int) -> Iterator[Cloud]:
    command = [folder / "node_modules/.bin/azurite-blob"]
    command += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    command += ["--location", data, "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    name = "AZURE_STORAGE_ACCOUNT_KEY"
    with running(command, port):
        make_container(port)
        yield Cloud(
            lambda: opened(f"az://{ACCOUNT}/{CONTAINER}/all", f"http://127.0.0.1:{port}/{ACCOUNT}"),
            {name: ACCOUNT_KEY},
            {name: base64.b64encode(bytes(64)).decode()},
        )


@contextmanager
def rclone(folder: Path, data: Path, port: int) -> Iterator[Cloud]:
    (data / CONTAINER).mkdir(parents=True)
    command = [folder / "bin/rclone", "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += ["--config", data / "none.conf", "--auth-key", "an-id,a-secret", data]
    key = {"AWS_ACCESS_KEY_ID": "an-id", "AWS_SECRET_ACCESS_KEY": "a-secret"}
    with running(command, port):
        yield Cloud(
            lambda: opened(f"s3://{CONTAINER}/all", f"http://127.0.0.1:{port}"),
            key,
            {**key, "AWS_SECRET_ACCESS_KEY": "another"},
        )


@contextmanager
def running(command: Sequence[str | Path], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until_s = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, f"{command[0]} has ended"
            assert time.monotonic() < until_s, f"{command[0]} does not listen"
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def opened(url: str, endpoint: str) -> Store:
    return Store(url, endpoint, "us-east-1", "checksum", None, retries=0)


def make_container(port: int) -> None:
    """https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key"""
    stamps = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    head = "".join(f"{name}:{value}\n" for name, value in stamps.items())
    text = "PUT" + 12 * "\n" + f"{head}/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    signed = hmac.new(base64.b64decode(ACCOUNT_KEY), text.encode(), hashlib.sha256).digest()
    key = {"Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signed).decode()}", "Content-Length": "0"}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{ACCOUNT}/{CONTAINER}?restype=container", headers=stamps | key)
    assert connection.getresponse().status == 201
    connection.close()


def use(credentials: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)


async def test_a_long_segment_arrives_once_and_a_wrong_key_marks_nothing_as_sent(
    tmp_path: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "spool"
    big = DATA + os.urandom(2 * PART)
    put(root, "ready/failure/r-1.mcap", big)
    use(cloud.wrong, monkeypatch)
    stranger = Robot(root, cloud.store())
    async with stranger.running():
        await until(lambda: stranger.told)
        assert stranger.told == ["upload.failed"]
        assert sent(root) == []
    use(cloud.right, monkeypatch)
    robot = Robot(root, cloud.store())
    async with robot.running():
        await until(lambda: sent(root))
    assert len(robot.objects()) == 4, "three parts and the manifest"
    assert robot.segment() == big

    # The crash came between the server's proof and the rename.
    (root / "sent/failure/r-1.mcap").rename(root / "ready/failure/r-1.mcap")
    before = robot.objects()
    again = Robot(root, cloud.store())
    async with again.running():
        await until(lambda: sent(root))
    assert again.objects() == before
