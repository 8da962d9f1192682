"""The spool as the daemon sees it: starts its process, passes its events on, replaces it when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgpack

from runtime.child.backoff import Backoff
from runtime.child.process import ChildProcess
from runtime.events import Events
from runtime.link.errors import Refused

_HOUSE = Path(__file__).parent.parent.parent
# Not `-m`: that would find another `runtime` in the folder where the daemon was started.
_BOOT = "import sys; sys.path[0] = sys.argv[1]; from runtime.spool.process import main; main(sys.argv[2])"
_RETRY_MAX_S = 30.0
_CLOSE_S = 2.0
_ANSWER_S = 10.0
_NOBODY = "the spool's process is not running; the events tell why"


class Spool:
    """All of it happens in another process; what the daemon has of it is the last status."""

    def __init__(self, events: Events, settings: Mapping[str, Any]) -> None:
        """`settings`: see `runtime.spool.process.Server`."""
        self.status: dict[str, Any] | None = None
        """What the process told last; None before the first time."""
        self._events = events
        self._arguments = (sys.executable, "-c", _BOOT, str(_HOUSE), json.dumps(dict(settings)))
        self._task: asyncio.Task[None] | None = None
        self._process: ChildProcess | None = None
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._task = asyncio.create_task(self._keep_running())

    async def close(self) -> None:
        """Have the process end; what it was doing is taken up at the next start."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def request(self, op: str, **args: Any) -> Any:
        """Have the process do something: `keep` a `segment`, or `send_now`. Raises Refused."""
        if self._process is None:
            raise Refused("spool", _NOBODY)
        self._number += 1
        number = self._number
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._process.send(msgpack.packb({"id": number, "op": op, "args": args}))
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except (OSError, TimeoutError):
            raise Refused("spool", f"the spool's process does not answer within {_ANSWER_S:g} s") from None
        finally:
            self._asked.pop(number, None)

    def _refuse_all(self) -> None:
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(Refused("spool", _NOBODY))

    async def _keep_running(self) -> None:
        backoff = Backoff(longest_s=_RETRY_MAX_S)
        with ThreadPoolExecutor(1, "spool-spawn") as executor:
            while True:
                try:
                    process = await ChildProcess.start(self._arguments, None, executor, self._on_message)
                except OSError as error:
                    cause = f"its process cannot start: {error}"
                else:
                    backoff.ready(time.monotonic_ns())
                    self._process = process
                    try:
                        await asyncio.wait({process.exited})
                    finally:
                        self._process = None
                        self._refuse_all()
                        await process.close(_CLOSE_S)
                    ended = process.exited.result() if process.exited.done() else "it has not ended"
                    cause = "; ".join([*process.last_words()[-1:], ended])
                wait_s = backoff.failed(time.monotonic_ns())
                told = (
                    f"nobody keeps the recordings: {cause}; next attempt in {wait_s:g} s; control goes on without"
                )
                self._events.emit("spool.failed", told, level="error", reason=cause)
                await asyncio.sleep(wait_s)

    def _on_message(self, message: bytes) -> None:
        try:
            self._take(message)
        except Exception as error:  # whatever it says: an exception here would end the daemon and cut power
            self._events.emit("spool.failed", f"its process said something odd: {error!r:.200}", level="error")

    def _take(self, message: bytes) -> None:
        told = msgpack.unpackb(message)
        if "event" in told:
            name, text, level, fields = told["event"]
            self._events.emit(name, text, level, **fields)
        elif "status" in told:
            self.status = told["status"]
        elif (answer := self._asked.get(told["id"])) is not None and not answer.done():
            if "refused" in told:
                answer.set_exception(Refused("spool", told["refused"]))
            else:
                answer.set_result(told["result"])
