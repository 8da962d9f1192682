"""A policy server with openpi's protocol, as a process that can be stopped, killed and started again.

`python -m tests.bench.latency.server PORT THINK_S`: it takes so long for every chunk, and swings all joints.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from pathlib import Path

import msgpack
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from runtime.policy.worker.remote import msgpack_arrays
from tests.bench.latency.swing import swing


async def main() -> None:
    """Serve until it is ended."""
    port, think_s = int(sys.argv[1]), float(sys.argv[2])

    async def answer(connection: ServerConnection) -> None:
        await connection.send(msgpack.packb({}))
        try:
            async for message in connection:
                position = msgpack_arrays.unpack(message, msgpack.unpackb)["state"]
                chunk = swing(position, time.monotonic())
                await asyncio.sleep(think_s)
                await connection.send(msgpack_arrays.pack({"actions": chunk}, msgpack.packb))
        except ConnectionClosed:
            pass

    async with serve(answer, "127.0.0.1", port, ping_interval=None):
        print("ready", flush=True)
        await asyncio.Event().wait()


def start(port: int, think_s: float) -> subprocess.Popen[bytes]:
    """Start it and wait until it listens."""
    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, str(port), str(think_s)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError("the policy server did not start")
    return process


if __name__ == "__main__":
    asyncio.run(main())
