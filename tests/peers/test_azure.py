"""The upload to Azure, against Azurite, Microsoft's own emulator of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from runtime.spool.upload.store import Store
from tests.peers.conftest import ROOT
from tests.spool.test_upload import DATA, PART, Robot, put, sent, until

FOLDER = ROOT / ".venv-peers-azurite"
ACCOUNT, CONTAINER = "devstoreaccount1", "recordings"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own; every copy of it has the same."""


def make_container(port: int) -> None:
    """https://learn.microsoft.com/en-us/rest/api/storageservices/authorize-with-shared-key"""
    stamps = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    head = "".join(f"{name}:{value}\n" for name, value in stamps.items())
    text = "PUT" + 12 * "\n" + f"{head}/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
    signed = hmac.new(base64.b64decode(KEY), text.encode(), hashlib.sha256).digest()
    key = {"Authorization": f"SharedKey {ACCOUNT}:{base64.b64encode(signed).decode()}", "Content-Length": "0"}
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("PUT", f"/{ACCOUNT}/{CONTAINER}?restype=container", headers=stamps | key)
    assert connection.getresponse().status == 201
    connection.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    if not (FOLDER / "done").exists():
        pytest.skip(f"{FOLDER.name} is not there, and with it Azurite: make test-peers makes it")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [FOLDER / "node_modules/.bin/azurite-blob"]
    command += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    command += ["--location", tmp_path / "azurite", "--blobHost", "127.0.0.1", "--blobPort", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, "Azurite has ended"
            time.sleep(0.1)
        make_container(port)
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"
    finally:
        process.kill()
        process.wait()


def store(server: str) -> Store:
    return Store(f"az://{ACCOUNT}/{CONTAINER}/all", server, None, "checksum", None, retries=0)


async def test_a_long_segment_arrives_once_and_a_wrong_key_marks_nothing_as_sent(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "spool"
    big = DATA + os.urandom(2 * PART)
    put(root, "ready/failure/r-1.mcap", big)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(bytes(64)).decode())
    stranger = Robot(root, store(server))
    async with stranger.running():
        await until(lambda: stranger.told)
        assert stranger.told == ["upload.failed"]
        assert sent(root) == []
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    robot = Robot(root, store(server))
    async with robot.running():
        await until(lambda: sent(root))
    assert len(robot.objects()) == 4, "three parts and the manifest"
    assert robot.segment() == big

    # The crash came between the server's proof and the rename.
    (root / "sent/failure/r-1.mcap").rename(root / "ready/failure/r-1.mcap")
    before = robot.objects()
    again = Robot(root, store(server))
    async with again.running():
        await until(lambda: sent(root))
    assert again.objects() == before
