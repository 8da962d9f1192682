"""The spool's process: an ordinary one beside the daemon, which ends when the daemon does.

It speaks msgpack over the socket that it inherits. It sends `{"event": [name, message, level, fields]}` and
`{"status": {...}}`, and answers `{"id": n, "op": op, "args": {...}}` with `{"id": n, "result": ...}` or
`{"id": n, "refused": why}`.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack

from runtime.child.begin import SOCKET, begin
from runtime.spool.files import Files
from runtime.spool.keeper import Keeper
from runtime.spool.layout import Class
from runtime.spool.retention import Caps
from runtime.spool.upload import credentials
from runtime.spool.upload.store import Store, UploadError
from runtime.spool.upload.uploader import Rules, Uploader

LOOK_S = 1.0
"""A second of recording is small against any cap."""
_M_MMAP_THRESHOLD = -3  # malloc.h
_LARGE = 1024 * 1024
_REQUEST_MAX = 4096
_TEXT_MAX = 1000
"""A message has to fit into what the daemon takes (`runtime.child.process.MESSAGE_MAX`)."""


def main(argument: str) -> None:
    """Keep the spool until the daemon ends."""
    settings: dict[str, Any] = json.loads(argument)
    begin("reflexd-spool", settings["cpus"])
    _return_memory()
    with socket.socket(fileno=SOCKET) as channel:
        channel.setblocking(False)
        asyncio.run(_serve(settings, channel))


def _return_memory() -> None:
    """Have a part that was sent go back to the system, instead of staying for the next: a quarter less memory."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # glibc
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE)


async def _serve(settings: Mapping[str, Any], channel: socket.socket) -> None:
    await Server(settings, channel, Files()).run()


class Server:
    """Looks once a second, sends what waits, and does what the daemon asks for."""

    def __init__(self, settings: Mapping[str, Any], channel: socket.socket, files: Files) -> None:
        """`settings`: `directory`, `size_max` and `free_min` (bytes), `cpus`, `robot`, and `upload`, the section
        of this name or None."""
        self._settings = settings
        self._root = Path(settings["directory"])
        self._channel = channel
        self._files = files
        self._out: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        caps = Caps(settings["size_max"], settings["free_min"])
        self._keeper = Keeper(self._root, caps, files, self._tell)
        self._lock = asyncio.Lock()
        self._uploader: Uploader | None = None

    async def run(self) -> None:
        """Serve until the daemon's end of the socket closes, or raise what nobody expected."""
        tasks = [asyncio.create_task(work) for work in (self._listen(), self._send(), self._keep())]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        self._keeper.close()
        for task in done:
            task.result()

    def _tell(self, name: str, message: str, level: str, **fields: Any) -> None:
        """Callable from any thread."""
        event = [name, message[:_TEXT_MAX], level, fields]
        self._loop.call_soon_threadsafe(self._out.put_nowait, {"event": event})

    async def _send(self) -> None:
        while True:
            message = await self._out.get()
            try:
                await self._loop.sock_sendall(self._channel, msgpack.packb(message))
            except (BrokenPipeError, ConnectionResetError):
                return

    async def _keep(self) -> None:
        await self._begin()
        await self._look()
        if self._settings["upload"] is not None:
            self._uploader = self._make_uploader(self._settings["upload"])
        work = [self._look_again()] + ([self._uploader.run()] if self._uploader is not None else [])
        await asyncio.gather(*work)

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self._look()

    async def _look(self) -> None:
        async with self._lock:
            await asyncio.to_thread(self._keeper.look)
        upload = {"upload": self._uploader.status() if self._uploader is not None else None}
        self._out.put_nowait({"status": self._keeper.status() | upload})

    async def _begin(self) -> None:
        """Wait until the folders can be made, and a daemon that was here before has left them."""
        told = ""
        while True:
            try:
                self._files.prepare([self._root])
                if self._files.claim(self._root) is not None:  # ours until this process ends
                    await asyncio.to_thread(self._keeper.begin)
                    return
                trouble = f"another process keeps {self._root}; give each robot a recording.directory of its own"
            except OSError as error:
                trouble = f"the spool cannot be made in {self._root}: {error.strerror or error}"
            if trouble != told:
                told = trouble
                self._tell("spool.failed", f"{trouble}; it is tried again", "error")
            await asyncio.sleep(LOOK_S)

    def _make_uploader(self, upload: Mapping[str, Any]) -> Uploader | None:
        rules = Rules(
            fleet=upload["fleet"],
            robot=self._settings["robot"],
            when={Class(kind): word for kind, word in upload["when"].items()},
            quiet_hours=tuple(upload["quiet_hours"]),
            metered=tuple(upload["metered"]),
        )
        rate_bps = upload["rate"] * 1e6 if upload["rate"] is not None else None
        try:
            if trouble := credentials.load(os.environ):
                raise UploadError(trouble)
            store = Store(upload["url"], upload["endpoint"], upload["region"], upload["confirm"], rate_bps)
        except UploadError as error:
            self._tell("upload.failed", f"nothing is sent until the next start: {error}", "error")
            return None
        return Uploader(store, rules, self._keeper, self._lock, self._tell)

    async def _listen(self) -> None:
        """Return when the daemon has gone."""
        while request := await self._loop.sock_recv(self._channel, _REQUEST_MAX):
            told = msgpack.unpackb(request)
            try:
                answer = {"result": await self._do(told["op"], told["args"])}
            except (_Refused, OSError) as error:
                answer = {"refused": str(error)}
            self._out.put_nowait({"id": told["id"], **answer})

    async def _do(self, op: str, args: Mapping[str, Any]) -> Any:
        if op == "keep":
            async with self._lock:
                if not await asyncio.to_thread(self._keeper.keep, args["segment"]):
                    raise _Refused(f"found no segment {args['segment']}, expected the name of one that is whole")
            await self._look()
            return None
        if self._uploader is None:
            raise _Refused("nothing is uploaded: the config has no [upload], or it has failed; see the events")
        return {"segments": self._uploader.send_now()}


class _Refused(Exception):
    """The request cannot be done; the message says why."""
