"""The spool as the daemon sees it: starts its process, passes its events on, replaces it when it dies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgpack

from runtime.child.keeper import ChildKeeper
from runtime.child.own import arguments
from runtime.child.process import ChildProcess
from runtime.events import Events
from runtime.link.errors import Refused

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
        command = partial(arguments, "runtime.spool.process", settings)
        self._keeper = ChildKeeper(
            command, self._on_message, self._watch, self._on_failed, longest_s=_RETRY_MAX_S, grace_s=_CLOSE_S
        )
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._number = 0

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._keeper.pid

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._keeper.start()

    async def close(self) -> None:
        """Have the process end; what it was doing is taken up at the next start."""
        await self._keeper.close()

    async def request(self, op: str, **args: Any) -> Any:
        """Have the process do something: `keep` a `segment`, or `send_now`. Raises Refused."""
        if (process := self._keeper.process) is None:
            raise Refused("spool", _NOBODY)
        self._number += 1
        number = self._number
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            process.send(msgpack.packb({"id": number, "op": op, "args": args}))
            async with asyncio.timeout(_ANSWER_S):
                return await answer
        except (OSError, TimeoutError):
            raise Refused("spool", f"the spool's process does not answer within {_ANSWER_S:g} s") from None
        finally:
            self._asked.pop(number, None)

    async def _watch(self, process: ChildProcess) -> str:
        self._keeper.ready()
        try:
            await asyncio.wait({process.exited})
        finally:
            for answer in self._asked.values():
                if not answer.done():
                    answer.set_exception(Refused("spool", _NOBODY))
        return ""

    def _on_failed(self, cause: str, wait_s: float) -> None:
        told = f"nobody keeps the recordings: {cause}; next attempt in {wait_s:g} s; control goes on without"
        self._events.emit("spool.failed", told, level="error", reason=cause)

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
