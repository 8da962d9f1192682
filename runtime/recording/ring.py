"""The ring: one record per tick in shared memory, from the tick to the recorder's process.

The tick only copies bytes and never waits: a reader that is too slow loses the oldest records, and they are
counted. The memory outlives the daemon for as long as the recorder has it: what a killed daemon left is written.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.state import Floats, Ints, JointState
from runtime.recording.trace import TraceLayout

_WRITTEN, _TAKEN, _DROPPED, _BYTES = range(4)
"""Words of the header: records so far that were written, taken, lost, and bytes in all files."""
_HEADER_WORDS = 8


class TraceRing:
    """The tick's end of the ring, and what the daemon knows of the other end."""

    def __init__(self, layout: TraceLayout, capacity: int) -> None:
        """`capacity`: records that wait at most. Raises OSError without memory."""
        self.layout = layout
        self.capacity = capacity
        self._size = 8 * layout.words
        self.descriptor = os.memfd_create("reflexd-trace", os.MFD_CLOEXEC)
        """The shared memory."""
        weakref.finalize(self, os.close, self.descriptor)
        length = 8 * _HEADER_WORDS + capacity * self._size
        os.ftruncate(self.descriptor, length)
        # Populated now: no tick waits for a page.
        self._memory = mmap.mmap(self.descriptor, length, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        self._header = memoryview(self._memory)[: 8 * _HEADER_WORDS].cast("q")
        self._slots = memoryview(self._memory)[8 * _HEADER_WORDS :]
        self._written = 0

    @property
    def dropped(self) -> int:
        """Records that the recorder was too late for."""
        return self._header[_DROPPED]

    @property
    def file_bytes(self) -> int:
        """What the recorder has written to all its files."""
        return self._header[_BYTES]

    def append(
        self,
        head: tuple[int | float, ...],
        state: JointState,
        plan: Floats,
        command: Floats,
        limits: Ints,
        tail: Sequence[Floats],
    ) -> None:
        """Record one tick.

        `head`: tick, time, lateness, cost of the tick before (ns), mode, gate, starved, plan ahead (s), episode,
        intervention; then the stamps of all sensors (ns). `plan`, `command`: rad, shape (joints,). `tail`: values
        of all sensors, then those of the commands.
        """
        head_bytes = self.layout.head.pack(*head)
        parts: list[Any] = [head_bytes, state.measured, state.counted, plan, command, limits, *tail]
        start = self._written % self.capacity * self._size
        self._slots[start : start + self._size] = b"".join(parts)
        self._written += 1
        self._header[_WRITTEN] = self._written


class TraceReader:
    """The recorder's end of the ring."""

    def __init__(self, layout: TraceLayout, capacity: int, descriptor: int) -> None:
        """Begins where the last reader ended."""
        self._layout = layout
        self._capacity = capacity
        memory = mmap.mmap(descriptor, 0)
        self._header = memoryview(memory)[: 8 * _HEADER_WORDS].cast("q")
        self._slots: Ints = np.frombuffer(memory, np.int64, offset=8 * _HEADER_WORDS).reshape(
            capacity, layout.words
        )
        self._taken = self._noticed = self._header[_TAKEN]
        self._until = self._taken
        self._lost = 0

    def look(self) -> None:
        """Let `take` have what was there at the look before this one.

        Without a lock a record may become visible after its number did, on some processors. One look later it is
        there on all of them.
        """
        self._until, self._noticed = self._noticed, self._header[_WRITTEN]

    def take(self, limit: int, before_ns: int | None = None) -> NDArray[np.void]:
        """The oldest records that were not taken yet, shape (n,); none left when n is 0.

        `before_ns`: leave those of this time (CLOCK_MONOTONIC) and later where they are.
        """
        while self._taken < self._until:
            numbers = np.arange(self._taken, min(self._until, self._taken + limit))
            left = self._slots[numbers % self._capacity]
            if before_ns is not None:
                left = left[: np.searchsorted(left[:, 1], before_ns)]
                numbers = numbers[: len(left)]
                if not len(left):
                    break
            # Counted after the copy: what the tick may have overwritten meanwhile is lost.
            lost = min(max(self._header[_WRITTEN] + 1 - self._capacity - self._taken, 0), len(numbers))
            self._lost += lost
            self._taken += len(numbers)
            if lost < len(numbers):
                return self._layout.records(left[lost:])
        return self._layout.records(self._slots[:0])

    def done(self, written_bytes: int) -> None:
        """All that was taken is in the file: another reader would begin behind it."""
        self._header[_TAKEN] = self._taken
        self._header[_DROPPED] += self._lost  # only now: another reader would count it again
        self._lost = 0
        self._header[_BYTES] += written_bytes
