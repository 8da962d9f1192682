"""The servers of `tests.bench.upload`: on loopback, or at the far end of a link with a rate and a delay."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from obstore.store import from_url

from runtime.spool.upload.store import AUTHORIZATION
from tests.bench.shaped import Shaped
from tests.spool import nginx
from tests.spool.server import BUCKET, CREDENTIALS, KEY_ID, SECRET

_PORT = 5871
_READY_S = 60.0
LOOPBACK = Shaped("127.0.0.1", ())
RCLONE = Path(__file__).parents[2] / ".venv-peers-rclone/bin/rclone"
"""`make test-peers` puts it there."""


@dataclass(frozen=True, slots=True)
class Place:
    """`url`, `endpoint`: as in `[upload]`."""

    url: str
    endpoint: str | None = None

    def store(self) -> Any:
        """The library alone, with its own defaults."""
        more: dict[str, Any] = {"client_options": {"allow_http": True}}
        if self.url.startswith("file"):
            return from_url(self.url, mkdir=True)
        if self.endpoint is not None:
            more["config"] = {"endpoint": self.endpoint, "region": "us-east-1"}
        else:
            more["client_options"]["default_headers"] = {"Authorization": nginx.AUTHORIZATION}
        return from_url(self.url, **more)


@contextmanager
def running(words: Sequence[str], ready: Sequence[str]) -> Iterator[None]:
    """A server in a process of its own, from the moment on when the command `ready` succeeds."""
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + _READY_S
        while subprocess.run(ready, stdout=subprocess.DEVNULL).returncode:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.1)
        yield
    finally:
        server.kill()
        server.wait()


@contextmanager
def s3(folder: Path, at: Shaped) -> Iterator[Place]:
    """moto, in Python."""
    words = [*at.inside, sys.executable, "-m", "moto.server", "-H", at.host, "-p", str(_PORT)]
    endpoint = f"http://{at.host}:{_PORT}"
    with running(words, ["curl", "-sf", "-X", "PUT", f"{endpoint}/{BUCKET}"]):
        yield Place(f"s3://{BUCKET}", endpoint)


@contextmanager
def rclone(folder: Path, at: Shaped) -> Iterator[Place]:
    """rclone's S3, compiled and with checked signatures; it keeps its objects on the disk."""
    data = folder / "rclone"
    (data / BUCKET).mkdir(parents=True)
    words = [*at.inside, str(RCLONE), "serve", "s3", "--addr", f"{at.host}:{_PORT}", "--config", f"{folder}/none"]
    endpoint = f"http://{at.host}:{_PORT}"
    with running([*words, "--auth-key", f"{KEY_ID},{SECRET}", str(data)], ["curl", "-s", endpoint]):
        yield Place(f"s3://{BUCKET}", endpoint)


@contextmanager
def http(folder: Path, at: Shaped) -> Iterator[Place]:
    """nginx, which takes PUT and proves nothing."""
    server = nginx.Nginx(folder / "nginx", at.host, at.inside)
    try:
        yield Place(server.url)
    finally:
        server.close()


@contextmanager
def directory(folder: Path, at: Shaped) -> Iterator[Place]:
    """The disk that the spool is on, too."""
    assert at == LOOPBACK
    yield Place(f"file://{folder}/server")


SERVERS = {"s3": s3, "rclone": rclone, "nginx": http, "directory": directory}
if not RCLONE.exists():
    del SERVERS["rclone"]
if nginx.NGINX is None:
    del SERVERS["nginx"]
ENVIRONMENT = CREDENTIALS | {AUTHORIZATION: nginx.AUTHORIZATION}


def sync(path: Path) -> None:
    """A file or a folder is on the disk, as a copy is that one may rely on."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
