"""`python -m tests.bench.upload`: 500 MB of segments to a server, by the spool and by obstore alone, in turns.

obstore alone puts each file with its own defaults; it does not ask for the key before, proves nothing, and syncs
nothing. Servers: the S3-compatible one in a process of its own, nginx where it is installed, a local directory.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import obstore
from obstore.store import from_url

from runtime.spool.files import Files
from runtime.spool.keeper import Keeper
from runtime.spool.layout import Class, folders
from runtime.spool.retention import Caps
from runtime.spool.upload.store import AUTHORIZATION, Store
from runtime.spool.upload.uploader import Rules, Uploader
from tests.bench.surroundings import machine, save
from tests.spool import nginx
from tests.spool.server import BUCKET, CREDENTIALS

_S3 = ("127.0.0.1", 5871)
Place = tuple[str, str | None]
"""Address of a server, and its endpoint."""


@contextmanager
def s3(folder: Path) -> Iterator[Place]:
    """The server without its slow link: moto alone."""
    words = [sys.executable, "-m", "moto.server", "-H", _S3[0], "-p", str(_S3[1])]
    server = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    endpoint = "http://{}:{}".format(*_S3)
    try:
        bucket = from_url(f"s3://{BUCKET}", config={"endpoint": endpoint}, client_options={"allow_http": True})
        deadline = time.monotonic() + 60
        while subprocess.run(
            ["curl", "-sf", "-X", "PUT", f"{endpoint}/{BUCKET}"], stdout=subprocess.DEVNULL
        ).returncode:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.1)
        assert list(bucket.list()) == []
        yield f"s3://{BUCKET}", endpoint
    finally:
        server.kill()
        server.wait()


@contextmanager
def http(folder: Path) -> Iterator[Place]:
    server = nginx.Nginx(folder / "nginx")
    try:
        yield server.url, None
    finally:
        server.close()


@contextmanager
def directory(folder: Path) -> Iterator[Place]:
    yield f"file://{folder}/server", None


def alone(place: Place, root: Path) -> float:
    """Seconds that the library alone takes for all files of a spool."""
    url, endpoint = place
    options: dict[str, Any] = {}
    if url.startswith("file"):
        options["mkdir"] = True
    else:
        options["client_options"] = {"allow_http": True}
    if url.startswith("http"):
        options["client_options"]["default_headers"] = {"Authorization": nginx.AUTHORIZATION}
    if endpoint is not None:
        options["config"] = {"endpoint": endpoint, "region": "us-east-1"}
    store = from_url(url, **options)
    multipart = None if not url.startswith("http") else False  # HTTP has none
    started = time.monotonic()
    for path in sorted(root.glob("ready/*/*.mcap")):
        obstore.put(store, f"alone/{path.name}", path, use_multipart=multipart)
    return time.monotonic() - started


async def spool(place: Place, root: Path) -> float:
    """Seconds until all are in `sent`."""
    url, endpoint = place
    keeper = Keeper(root, Caps(10**12, 0), Files(), lambda *told, **fields: None)
    keeper.begin()
    keeper.look()
    store = Store(url, endpoint, "us-east-1", "checksum", None)
    rules = Rules("f", "r", dict.fromkeys(Class, "always"), (), ())
    uploader = Uploader(store, rules, keeper, asyncio.Lock(), lambda *told, **fields: None)
    started = time.monotonic()
    task = asyncio.create_task(uploader.run())
    while any(root.glob("ready/*/*.mcap")):
        assert not task.done(), task
        await asyncio.sleep(0.005)
    took = time.monotonic() - started
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return took


def fill(root: Path, total: int, each: int) -> None:
    """New content each time: what the server has already is not sent."""
    Files().prepare(folders(root))
    for number in range(total // each):
        (root / f"ready/bulk/r-{number:04d}.mcap").write_bytes(os.urandom(each))


def measure(place: Place, folder: Path, total: int, each: int, rounds: int) -> dict[str, Any]:
    ours, theirs = [], []
    for number in range(rounds):
        root = folder / f"spool{number}"
        fill(root, total, each)
        order = (True, False) if number % 2 else (False, True)
        for mine in order:
            if mine:
                root_now = root
                ours.append(asyncio.run(spool(place, root_now)))
                for path in root.glob("sent/*/*.mcap"):
                    path.rename(root / "ready" / "bulk" / path.name)
            else:
                theirs.append(alone(place, root))
    rates = [total / 1e6 / statistics.median(times) for times in (ours, theirs)]
    return {
        "spool_s": ours,
        "alone_s": theirs,
        "spool_mbps": rates[0],
        "alone_mbps": rates[1],
        "ratio": rates[0] / rates[1],
    }


def main() -> None:
    """Measure all, print a table, write results/upload.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.upload", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--each", type=int, nargs="+", default=[5, 50], help="size of a segment, MB")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument(
        "--servers", nargs="+", choices=("s3", "nginx", "directory"), default=("s3", "nginx", "directory")
    )
    arguments = parser.parse_args()
    os.environ |= CREDENTIALS | {AUTHORIZATION: nginx.AUTHORIZATION}
    servers = {"s3": s3, "nginx": http, "directory": directory}
    if nginx.NGINX is None:
        del servers["nginx"]
    found: dict[str, Any] = {}
    print("| server | segments of, MB | spool, MB/s | obstore alone, MB/s | ratio |\n|---|---|---|---|---|")
    for name, each in itertools.product(servers.keys() & set(arguments.servers), arguments.each):
        with tempfile.TemporaryDirectory() as folder, servers[name](Path(folder)) as place:
            row = measure(place, Path(folder), arguments.megabytes * 10**6, each * 10**6, arguments.rounds)
        found[f"{name} {each}"] = row
        print(f"| {name} | {each} | {row['spool_mbps']:.0f} | {row['alone_mbps']:.0f} | {row['ratio']:.2f} |")
    save("upload", {"machine": machine(), **found})


if __name__ == "__main__":
    main()
