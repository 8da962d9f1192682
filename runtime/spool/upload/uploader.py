"""Sends what waits, one after the other, for as long as the spool's process runs."""

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
from runtime.spool.upload import choice, manifest
from runtime.spool.upload.store import Store, UploadError
from runtime.spool.upload.sums import FileSums, Sums, read_part

_FIRST_S, _LONGEST_S = 1.0, 300.0
_LOOK_S = 1.0
_RATE_OF_S = 60.0
"""The rate that is told is an average over about so long."""


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
    """One segment at a time; nothing is marked as sent before the store has proven it."""

    def __init__(self, store: Store, rules: Rules, keeper: Keeper, lock: asyncio.Lock, tell: Tell) -> None:
        """`lock` is held around every use of the keeper."""
        self._store = store
        self._rules = rules
        self._keeper = keeper
        self._lock = lock
        self._tell = tell
        self._backoff = Backoff(_FIRST_S, _LONGEST_S, healthy_s=0.0)
        self._poke = asyncio.Event()
        self._failed: set[str] = set()
        self._urgent: set[str] = set()
        self._trouble = ""
        self._now: dict[str, Any] | None = None
        self._ahead: tuple[Entry, asyncio.Task[FileSums | None]] | None = None
        """The segment that is probably next; its sums are taken while another one is on its way."""
        self._rate_bps = 0.0

    def send_now(self) -> int:
        """Send what waits now in spite of quiet hours, metered links and back-off. Returns how many that are."""
        names = {e.name for e in self._keeper.entries if e.state == State.READY and self._goes(e.kind)}
        self._urgent |= names
        self._poke.set()
        return len(names)

    async def run(self) -> None:
        """Send, until cancelled."""
        while True:
            entry = self._next()
            if entry is None:
                await self._pause(_LOOK_S)
                continue
            try:
                await self._send(entry)
            except (UploadError, OSError) as error:
                if entry.reason is None and not entry.path.exists():
                    await self._pause(_LOOK_S)  # kept, or gone: the next look tells
                    continue
                self._failed.add(entry.name)
                # Jitter: a fleet that has lost the same server does not come back in the same second.
                wait_s = self._backoff.failed(time.monotonic_ns()) * random.uniform(0.5, 1.0)
                self._complain(f"{entry.name} is not sent: {error}")
                await self._pause(wait_s)
            else:
                self._failed.clear()
                self._urgent.discard(entry.name)
                self._backoff.ready(time.monotonic_ns())
                if self._trouble:
                    self._trouble = ""
                    self._tell("upload.back", "recordings are sent again", "info")
            finally:
                self._now = None
                self._keeper.busy = ""

    def _next(self) -> Entry | None:
        waiting = [entry for entry in self._keeper.entries if entry.name not in self._failed]
        found = choice.next_to_send(waiting, self._rules.when, self._restricted(), self._urgent)
        if found is None and self._failed:
            self._failed.clear()
            found = choice.next_to_send(self._keeper.entries, self._rules.when, self._restricted(), self._urgent)
        return found

    def _restricted(self) -> bool:
        rules = self._rules
        return choice.is_quiet(rules.quiet_hours, rules.minute()) or choice.is_metered(rules.metered)

    def _goes(self, kind: Class) -> bool:
        return self._rules.when[kind] != "never"

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._poke.wait(), seconds)
        self._poke.clear()

    async def _send(self, entry: Entry) -> None:
        if entry.reason is not None:
            await self._report(entry)
            return
        self._keeper.busy = entry.name
        self._now = {"segment": entry.name, "bytes": entry.bytes, "sent": 0}
        started = time.monotonic()
        sums = await self._sums(entry)
        self._look_ahead(entry)
        facts = self._keeper.facts(entry)
        fleet, robot = self._rules.fleet, self._rules.robot
        key = manifest.key(fleet, robot, entry, facts, sums)
        about = manifest.manifest(key, fleet, robot, entry, facts, sums)
        sent = 0
        # The manifest goes last: where it is, everything is.
        if not await self._store.has(f"{key}.json", Sums.of(about)):
            sent = await self._send_parts(entry, manifest.part_keys(key, sums), sums)
            await self._store.put(f"{key}.json", about, Sums.of(about))
        async with self._lock:
            await asyncio.to_thread(self._keeper.confirmed, entry)
        took_s = max(time.monotonic() - started, 1e-3)
        if sent:  # it may have been there before a restart
            weight = min(1.0, took_s / _RATE_OF_S) if self._rate_bps else 1.0
            self._rate_bps += weight * (sent / took_s - self._rate_bps)
        text = f"{entry.name} is on the server, {sums.size} bytes in {took_s:.1f} s"
        self._tell("upload.sent", text, "info", segment=entry.name, key=key, sha256=sums.sha256, bytes=sums.size)

    async def _sums(self, entry: Entry) -> FileSums:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == entry and (found := await ahead[1]) is not None:
            return found
        return await asyncio.to_thread(FileSums.of, entry.path)

    def _look_ahead(self, sending: Entry) -> None:
        waiting = [e for e in self._keeper.entries if e.name != sending.name and e.name not in self._failed]
        entry = choice.next_to_send(waiting, self._rules.when, self._restricted(), self._urgent)
        if entry is not None and entry.reason is None:
            self._ahead = entry, asyncio.create_task(_sums_or_none(entry))

    async def _send_parts(self, entry: Entry, keys: list[str], sums: FileSums) -> int:
        """Send what the server does not have yet. Returns how many bytes that were."""
        assert self._now is not None
        # They go in their order: those after the first that is not there are not there either.
        resumed, sent = True, 0
        for number, (key, part) in enumerate(zip(keys, sums.parts, strict=True)):
            resumed = resumed and await self._store.has(key, part)
            if not resumed:
                await self._store.put(key, await asyncio.to_thread(read_part, entry.path, number), part)
                sent += part.size
                self._backoff.ready(time.monotonic_ns())  # a link that lets a part through deserves the next one
            self._now["sent"] += part.size
        return sent

    async def _report(self, entry: Entry) -> None:
        lost_ns = entry.path.stat().st_mtime_ns
        key = manifest.loss_key(self._rules.fleet, self._rules.robot, entry, lost_ns)
        about = manifest.loss(self._rules.fleet, self._rules.robot, entry)
        await self._store.put(key, about, Sums.of(about))
        async with self._lock:
            await asyncio.to_thread(self._keeper.confirmed, entry)

    def _complain(self, trouble: str) -> None:
        # The name and the time in the message change with each attempt; what is told once is that it fails.
        if not self._trouble:
            self._tell("upload.failed", f"{trouble}; it is tried again", "warning")
        self._trouble = trouble

    def status(self) -> dict[str, Any]:
        """What waits and how it goes; see docs/control-socket.md."""
        going = [e for e in self._keeper.entries if e.state == State.READY and self._goes(e.kind)]
        left = sum(entry.bytes for entry in going) - (self._now["sent"] if self._now else 0)
        return {
            "segments": len(going),
            "bytes": max(left, 0),
            "now": self._now,
            "rate_bps": round(self._rate_bps),
            "eta_s": round(left / self._rate_bps) if self._rate_bps and left > 0 else None,
            "restricted": self._restricted(),
            "trouble": self._trouble or None,
        }


async def _sums_or_none(entry: Entry) -> FileSums | None:
    try:
        return await asyncio.to_thread(FileSums.of, entry.path)
    except OSError:  # told when its turn comes
        return None
