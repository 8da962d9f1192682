"""One segment, or the report of a lost one, on its way to the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from runtime.spool.index import Facts
from runtime.spool.layout import Entry
from runtime.spool.upload import manifest
from runtime.spool.upload.store import Store
from runtime.spool.upload.sums import FileSums, Sums, read_part


class Transfer:
    """What goes for one entry of the spool, and how far it is."""

    def __init__(self, entry: Entry, store: Store, fleet: str, robot: str, passed: Callable[[int], None]) -> None:
        """`passed` is told of each part that was sent, with its bytes."""
        self.entry = entry
        self.proven = 0
        """Bytes of the segment that the server has."""
        self._store = store
        self._fleet, self._robot = fleet, robot
        self._passed = passed
        self._rank = (-entry.kind.worth, entry.name)
        self._started = time.monotonic()

    def status(self) -> dict[str, Any]:
        """See docs/control-socket.md."""
        return {"segment": self.entry.name, "bytes": self.entry.bytes, "sent": self.proven}

    async def send(self, facts: Facts) -> dict[str, Any]:
        """Send what the server does not have; it has all of it in the end. Returns the fields of the event.

        Raises UploadError, and OSError when the file cannot be read."""
        entry, store = self.entry, self._store
        sums = await asyncio.to_thread(FileSums.of, entry.path, store.needs_md5)
        key = manifest.key(self._fleet, self._robot, entry, facts, sums)
        about = manifest.manifest(key, self._fleet, self._robot, entry, facts, sums)
        # In their order, the manifest last: where it is, everything is. Behind one that is not there, nothing is.
        there = True
        for number, (name, part) in enumerate(zip(manifest.part_keys(key, sums), sums.parts, strict=True)):
            there = there and await store.has(name, part)
            if not there:
                await store.put(name, partial(read_part, entry.path, number), part, self._rank)
                self._passed(part.size)
            self.proven += part.size
        await self._put_small(f"{key}.json", about, ask=there)
        took_s = time.monotonic() - self._started
        return {"segment": entry.name, "key": key, "sha256": sums.sha256, "bytes": sums.size, "took_s": took_s}

    async def report(self) -> None:
        """Tell the server of a segment that was lost. Raises UploadError, and OSError when its file is gone."""
        lost_ns = self.entry.path.stat().st_mtime_ns
        key = manifest.loss_key(self._fleet, self._robot, self.entry, lost_ns)
        await self._put_small(key, manifest.loss(self._fleet, self._robot, self.entry), ask=False)

    async def _put_small(self, key: str, about: bytes, ask: bool) -> None:
        sums = Sums.of(about, self._store.needs_md5)
        if not (ask and await self._store.has(key, sums)):
            await self._store.put(key, lambda: about, sums, self._rank)
