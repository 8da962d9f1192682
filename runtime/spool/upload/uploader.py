"""Sends what waits, a few segments at a time, for as long as the spool's process runs."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from runtime.child.backoff import Backoff
from runtime.spool.keeper import Keeper, Tell
from runtime.spool.layout import Class, Entry, State
from runtime.spool.upload import choice
from runtime.spool.upload.rate import Rate
from runtime.spool.upload.store import Store, UploadError
from runtime.spool.upload.transfer import Transfer

_AT_ONCE = 4
"""Segments on their way: while the contents of two go over the link, two are asked for or proven."""
_FIRST_S, _LONGEST_S = 1.0, 300.0
_LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The parts of `[upload]` that decide what goes when."""

    fleet: str
    robot: str
    when: Mapping[Class, str]
    quiet_hours: tuple[str, ...]
    metered: tuple[str, ...]

    def minute(self) -> int:
        """Minute of the local day, 0 ... 1439."""
        now = time.localtime()
        return now.tm_hour * 60 + now.tm_min


class Uploader:
    """Begins what comes next; nothing is marked as sent before the store has proven it."""

    def __init__(self, store: Store, rules: Rules, keeper: Keeper, lock: asyncio.Lock, tell: Tell) -> None:
        """`lock` is held around every use of the keeper."""
        self._store = store
        self._rules = rules
        self._keeper = keeper
        self._lock = lock
        self._tell = tell
        self._backoff = Backoff(_FIRST_S, _LONGEST_S, healthy_s=0.0)
        self._wait_until_s = 0.0
        """On the monotonic clock; nothing is begun before, because of a failure."""
        self._wake = asyncio.Event()
        self._going: dict[str, Transfer] = {}
        """By the name of the segment."""
        self._failed: set[str] = set()
        self._urgent: set[str] = set()
        self._trouble = ""
        self._failures = 0
        self._rate = Rate()

    def send_now(self) -> int:
        """Send what waits now in spite of quiet hours, metered links and back-off. Returns how many that are."""
        names = {e.name for e in self._keeper.entries if e.state == State.READY and self._goes(e.kind)}
        self._urgent |= names
        self._wait_until_s = 0.0
        self._wake.set()
        return len(names)

    async def run(self) -> None:
        """Send, until cancelled."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                self._wake.clear()
                while (entry := self._next()) is not None:
                    tasks.add(asyncio.create_task(self._carry(self._begin(entry))))
                left_s = self._wait_until_s - time.monotonic()
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(left_s, _LOOK_S) if left_s > 0 else _LOOK_S):
                        await self._wake.wait()
                for task in [task for task in tasks if task.done()]:
                    tasks.remove(task)
                    task.result()  # what nobody expected
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _next(self) -> Entry | None:
        """What to begin now. Whoever is worth more does not wait until something of less worth has arrived."""
        if time.monotonic() < self._wait_until_s:
            return None
        waiting = [entry for entry in self._keeper.entries if entry.name not in self._going]
        found = self._choose([entry for entry in waiting if entry.name not in self._failed])
        if found is None and self._failed:
            self._failed.clear()
            found = self._choose(waiting)
        if found is None:
            return None
        ahead = sum(transfer.entry.kind.worth >= found.kind.worth for transfer in self._going.values())
        return found if ahead < (1 if self._trouble else _AT_ONCE) else None

    def _choose(self, waiting: list[Entry]) -> Entry | None:
        return choice.next_to_send(waiting, self._rules.when, self._restricted(), self._urgent)

    def _restricted(self) -> bool:
        rules = self._rules
        return choice.is_quiet(rules.quiet_hours, rules.minute()) or choice.is_metered(rules.metered)

    def _goes(self, kind: Class) -> bool:
        return self._rules.when[kind] != "never"

    def _begin(self, entry: Entry) -> Transfer:
        if not self._going:
            self._rate.begin(time.monotonic())
        transfer = Transfer(entry, self._store, self._rules.fleet, self._rules.robot, self._has_passed)
        self._going[entry.name] = transfer
        self._keeper.busy.add(entry.name)
        return transfer

    async def _carry(self, transfer: Transfer) -> None:
        entry, failures = transfer.entry, self._failures
        try:
            await self._send(transfer)
        except (UploadError, OSError) as error:
            if entry.reason is None and not entry.path.exists():
                await asyncio.sleep(_LOOK_S)  # kept, or gone: the next look tells
            else:
                self._has_failed(entry, error, known=failures != self._failures)
        else:
            self._urgent.discard(entry.name)
            # What was begun before the last failure does not tell that it goes again.
            if failures == self._failures:
                self._has_worked()
        finally:
            del self._going[entry.name]
            self._keeper.busy.discard(entry.name)
            self._wake.set()

    async def _send(self, transfer: Transfer) -> None:
        entry = transfer.entry
        told = None
        if entry.reason is None:
            # Whoever closed it may be about to: cut off now, it could get another class, and be sent again.
            await asyncio.to_thread(self._keeper.settle, entry)
            told = await transfer.send(self._keeper.facts(entry))
        else:
            await transfer.report()
        async with self._lock:
            await asyncio.to_thread(self._keeper.confirmed, entry)
        if told is not None:
            self._rate.take(time.monotonic())
            took_s = told.pop("took_s")
            text = f"{entry.name} is on the server, {told['bytes']} bytes in {took_s:.1f} s"
            self._tell("upload.sent", text, "info", **told)

    def _has_passed(self, count: int) -> None:
        self._rate.add(count)
        self._backoff.ready(time.monotonic_ns())  # a link that lets a part through deserves the next one

    def _has_worked(self) -> None:
        self._failed.clear()
        self._backoff.ready(time.monotonic_ns())
        if self._trouble:
            self._trouble = ""
            self._tell("upload.back", "recordings are sent again", "info")

    def _has_failed(self, entry: Entry, error: Exception, known: bool) -> None:
        """`known`: something else that was on its way has failed meanwhile; that is one trouble, not two."""
        self._failed.add(entry.name)
        if known:
            return
        self._failures += 1
        # Jitter: a fleet that has lost the same server does not come back in the same second.
        wait_s = self._backoff.failed(time.monotonic_ns()) * random.uniform(0.5, 1.0)
        self._wait_until_s = time.monotonic() + wait_s
        trouble = f"{entry.name} is not sent: {error}"
        # The name and the time in the message change with each attempt; what is told once is that it fails.
        if not self._trouble:
            self._tell("upload.failed", f"{trouble}; it is tried again", "warning")
        self._trouble = trouble

    def status(self) -> dict[str, Any]:
        """What waits and how it goes; see docs/control-socket.md."""
        waiting = [e for e in self._keeper.entries if e.state == State.READY and self._goes(e.kind)]
        now = [transfer for transfer in self._going.values() if transfer.entry.reason is None]
        left = max(sum(entry.bytes for entry in waiting) - sum(transfer.proven for transfer in now), 0)
        rate_bps = self._rate.bps
        return {
            "segments": len(waiting),
            "bytes": left,
            "now": [transfer.status() for transfer in now],
            "rate_bps": round(rate_bps),
            "eta_s": round(left / rate_bps) if rate_bps and left else None,
            "restricted": self._restricted(),
            "trouble": self._trouble or None,
        }
