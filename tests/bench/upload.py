"""`python -m tests.bench.upload`: segments to a server, by the spool and by obstore alone, in turns.

obstore alone puts one file after the other with its own defaults; it does not ask for the key before, proves
nothing, and syncs nothing ("durable": each file is synced). Servers: two that are compatible with S3,
moto and, where it is there, rclone; nginx where it is installed; a local directory, which has no far end; with
`--link` the others are at the far end of a link with a rate and a delay.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import obstore

from runtime.events import Events
from runtime.spool.files import Files
from runtime.spool.layout import Class, folders
from runtime.spool.spool import Spool
from tests.bench.shaped import shaped
from tests.bench.surroundings import machine, save
from tests.bench.upload_servers import ENVIRONMENT, LOOPBACK, SERVERS, Place, sync


def alone(place: Place, root: Path, durable: bool) -> float:
    """Seconds that the library alone takes for all files of a spool. `durable`: until they are on the disk."""
    store = place.store()
    folder = Path(place.url.removeprefix("file://"), "alone")
    multipart = False if place.url.startswith("http") else None  # HTTP has none
    started = time.monotonic()
    for path in sorted(root.glob("ready/*/*.mcap")):
        obstore.put(store, f"alone/{path.name}", path, use_multipart=multipart)
        if durable:
            for written in (folder / path.name, folder):
                sync(written)
    return time.monotonic() - started


async def spool(place: Place, root: Path) -> tuple[float, float]:
    """Seconds until all are in `sent`; the most memory that the spool's process has had, 10^6 bytes."""
    upload = {
        "url": place.url,
        "endpoint": place.endpoint,
        "region": "us-east-1",
        "fleet": "f",
        "rate": None,
        "quiet_hours": ["00:00-12:00", "12:00-00:00"],
        "metered": [],
        "confirm": "checksum",
        "when": dict.fromkeys(map(str, Class), "unmetered"),
    }
    settings = {
        "directory": str(root),
        "size_max": 10**12,
        "free_min": 0,
        "cpus": [],
        "robot": "r",
        "upload": upload,
    }
    events = Events()
    spool = Spool(events, settings)
    spool.start()
    while spool.status is None or spool.status["upload"] is None:  # all day it is quiet: it only looks
        await asyncio.sleep(0.05)
    memory = Path(f"/proc/{spool.pid}/status")
    started = time.monotonic()
    await spool.request("send_now")
    while any(root.glob("ready/*/*.mcap")):
        assert not events.counts["upload.failed"], list(events.recent)
        await asyncio.sleep(0.01)
    took_s = time.monotonic() - started
    peak = next(line for line in memory.read_text().splitlines() if line.startswith("VmHWM"))
    await spool.close()
    return took_s, int(peak.split()[1]) * 1024 / 1e6


def fill(root: Path, total: int, each: int) -> None:
    """New content each time: what the server has already is not sent."""
    Files().prepare(folders(root))
    for number in range(total // each):
        (root / f"ready/bulk/r-{number:04d}.mcap").write_bytes(os.urandom(each))
    os.sync()


def measure(place: Place, folder: Path, total: int, each: int, rounds: int) -> dict[str, Any]:
    """In turns: who goes first changes, and the ratio is the median of those of the rounds."""
    found: dict[str, list[float]] = {"spool": [], "alone": [], "durable": [], "memory": []}
    ways = ["spool", "alone"] + ["durable"] * place.url.startswith("file")
    for number in range(rounds):
        root = folder / f"spool{number}"
        fill(root, total, each)
        for way in ways if number % 2 else reversed(ways):
            if way == "spool":
                took_s, memory = asyncio.run(spool(place, root))
                found["memory"].append(memory)
                for path in root.glob("sent/*/*.mcap"):
                    path.rename(root / "ready" / "bulk" / path.name)
            else:
                took_s = alone(place, root, durable=way == "durable")
            found[way].append(total / 1e6 / took_s)
        shutil.rmtree(root)
    row: dict[str, Any] = {f"{way}_mbps": found[way] for way in ways} | {"memory_mb": max(found["memory"])}
    for way in ways[1:]:
        row[f"of_{way}"] = statistics.median(a / b for a, b in zip(found["spool"], found[way], strict=True))
    return row


def main() -> None:
    """Measure all, print a table, write results/upload.json."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.upload", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--each", type=int, nargs="+", default=[5, 50], help="size of a segment, MB")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument(
        "--link", help="rate of a link to the servers, as tc writes it, such as 100mbit; needs root"
    )
    parser.add_argument("--round-trip", type=float, default=0.02, help="of this link, s")
    arguments = parser.parse_args()
    os.environ |= ENVIRONMENT
    found: dict[str, Any] = {}
    print(
        "| server | segments, MB | spool, MB/s | obstore alone, MB/s | ratio | durable, MB/s | ratio | RSS, MB |"
    )
    with ExitStack() as stack:
        at = LOOPBACK
        if arguments.link is not None:
            at = stack.enter_context(shaped(arguments.link, arguments.round_trip))
        for name in arguments.servers:
            if name == "directory" and at != LOOPBACK:
                continue
            for each in arguments.each:
                with tempfile.TemporaryDirectory() as folder, SERVERS[name](Path(folder), at) as place:
                    row = measure(place, Path(folder), arguments.megabytes * 10**6, each * 10**6, arguments.rounds)
                found[f"{name} {each}"] = row
                cells = [name, each, *(f"{statistics.median(row[k]):.0f}" for k in ("spool_mbps", "alone_mbps"))]
                cells.append(f"{row['of_alone']:.2f}")
                if "of_durable" in row:
                    cells += [f"{statistics.median(row['durable_mbps']):.0f}", f"{row['of_durable']:.2f}"]
                else:
                    cells += ["", ""]
                print("|", *(f"{cell} |" for cell in [*cells, f"{row['memory_mb']:.0f}"]))
                sys.stdout.flush()
    save(f"upload-{arguments.link}" if arguments.link else "upload", {"machine": machine(), **found})


if __name__ == "__main__":
    main()
