"""The spool's process: an ordinary one beside the daemon, which ends when the daemon does.

Over the socket that it inherits it sends `{"event": [name, message, level, fields]}` and `{"status": {...}}`.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

from runtime.child.process import SOCKET
from runtime.spool.files import Files
from runtime.spool.index import Index
from runtime.spool.keeper import Keeper
from runtime.spool.retention import Caps

LOOK_S = 1.0
"""A second of recording is small against any cap."""
_REQUEST_MAX = 4096
_PR_SET_NAME = 15  # linux/prctl.h


def main(argument: str) -> None:
    """Keep the spool until the daemon ends."""
    settings: dict[str, Any] = json.loads(argument)
    # Ctrl-C, and what a service manager sends to all, are for the daemon: when it ends, so do we.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGABRT):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"reflexd-spool")
    if settings["cpus"]:
        os.sched_setaffinity(0, settings["cpus"])
    with socket.socket(fileno=SOCKET) as channel:
        channel.setblocking(False)
        asyncio.run(_serve(settings, channel))


async def _serve(settings: Mapping[str, Any], channel: socket.socket) -> None:
    await Server(settings, channel, Files()).run()


class Server:
    """Looks once a second, and tells the daemon what it has seen."""

    def __init__(self, settings: Mapping[str, Any], channel: socket.socket, files: Files) -> None:
        self._root = Path(settings["directory"])
        self._channel = channel
        self._files = files
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._caps = Caps(settings["size_max"], settings["free_min"])

    async def run(self) -> None:
        """Serve until the daemon's end of the socket closes, or raise what nobody expected."""
        tasks = [asyncio.create_task(work) for work in (self._listen(), self._send(), self._look())]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()

    def _tell(self, name: str, message: str, level: str, **fields: Any) -> None:
        """Callable from any thread."""
        self._loop.call_soon_threadsafe(self._out.put_nowait, {"event": [name, message, level, fields]})

    async def _send(self) -> None:
        while True:
            message = await self._out.get()
            try:
                await self._loop.sock_sendall(self._channel, msgpack.packb(message))
            except (BrokenPipeError, ConnectionResetError):
                return

    async def _look(self) -> None:
        keeper = await self._begin()
        while True:
            await asyncio.to_thread(keeper.look)
            self._out.put_nowait({"status": keeper.status()})
            await asyncio.sleep(LOOK_S)

    async def _begin(self) -> Keeper:
        """Wait until the folders can be made, and a daemon that was here before has left them."""
        told = ""
        while True:
            trouble = ""
            try:
                self._files.prepare([self._root])
                if self._files.claim(self._root) is not None:  # ours until this process ends
                    keeper = Keeper(
                        self._root, self._caps, self._files, Index(self._root / "index.sqlite"), self._tell
                    )
                    await asyncio.to_thread(keeper.begin)
                    return keeper
                trouble = f"another process keeps {self._root}; give each robot a recording.directory of its own"
            except OSError as error:
                trouble = f"the spool cannot be made in {self._root}: {error.strerror or error}"
            if trouble != told:
                told = trouble
                self._tell("spool.failed", f"{trouble}; it is tried again", "error")
            await asyncio.sleep(LOOK_S)

    async def _listen(self) -> None:
        """Return when the daemon has gone."""
        while await self._loop.sock_recv(self._channel, _REQUEST_MAX):
            pass
