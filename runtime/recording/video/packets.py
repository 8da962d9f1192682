"""Encoded frames in shared memory, from a camera's encoder to the recorder. Nobody waits for anybody.

Two rings: entries that say which frame it is and where its bytes are, and the bytes. A recorder that is too slow
loses the oldest frames, and they are counted. What the recorder has not synced yet is there for the next one.
"""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any, Literal

import numpy as np

from runtime.recording.quality.frame import FrameQuality

Format = Literal["h264", "h265", "jpeg"]
_FORMATS: tuple[Format, ...] = ("h264", "h265", "jpeg")

# Words of the header: frames that were written and that are on the disk, where the bytes of the next one end,
# keyframes that were asked for, frames that the encoder and the recorder were too late for.
_WRITTEN, _TAKEN, _RESERVED, _WANTED, _DROPPED, _LOST = range(6)
_HEADER_BYTES = mmap.PAGESIZE
"""A page of its own: the daemon maps no more."""
_ENTRY = np.dtype([("quality", "<i8", (2,)), ("measured", "<f8", (5,)), ("place", "<i8", (4,))])
"""`quality`: number, time. `place`: where the bytes begin, how many, format, 1 for a keyframe."""
ENTRIES = 512
"""Frames that wait at most."""
_BYTES_AT = _HEADER_BYTES + ENTRIES * _ENTRY.itemsize


@dataclass(frozen=True, slots=True)
class Packet:
    """One frame, encoded."""

    quality: FrameQuality
    format: Format
    key: bool
    """It can be decoded without those before it."""
    data: bytes


class PacketRing:
    """The memory, and what the daemon knows of it."""

    def __init__(self, capacity: int) -> None:
        """`capacity`: bytes of all frames that wait. Raises OSError without memory."""
        self.descriptor = os.memfd_create("reflexd-video", os.MFD_CLOEXEC)
        """The shared memory."""
        weakref.finalize(self, os.close, self.descriptor)
        os.ftruncate(self.descriptor, _BYTES_AT + capacity)
        self._header = memoryview(mmap.mmap(self.descriptor, _HEADER_BYTES)).cast("q")

    @property
    def frames(self) -> int:
        """Frames that were encoded."""
        return self._header[_WRITTEN]

    @property
    def dropped(self) -> int:
        """Frames that the encoder or the recorder was too late for."""
        return self._header[_DROPPED] + self._header[_LOST]


class _End:
    """What both ends have in common."""

    def __init__(self, descriptor: int) -> None:
        memory = mmap.mmap(descriptor, 0)
        self._header = memoryview(memory)[:_HEADER_BYTES].cast("q")
        self._entries: Any = np.frombuffer(memory, _ENTRY, ENTRIES, _HEADER_BYTES)
        self._bytes = memoryview(memory)[_BYTES_AT:]
        self._capacity = len(self._bytes)
        self._held = threading.Lock()
        self._held.acquire()

    def _fence(self) -> None:
        """No processor moves a load or a store over this, as in `runtime.policy.worker.frames`."""
        self._held.release()
        self._held.acquire()


class PacketWriter(_End):
    """The encoder's end. The next one goes on where one that has died ended."""

    def __init__(self, descriptor: int) -> None:
        """Does not close the descriptor."""
        super().__init__(descriptor)
        self._answered = self._header[_WANTED]

    @property
    def key_wanted(self) -> bool:
        """Whether a keyframe was asked for since the last time that this was looked at."""
        before, self._answered = self._answered, self._header[_WANTED]
        return before != self._answered

    def drop(self, frames: int) -> None:
        """Count frames that were not encoded."""
        self._header[_DROPPED] += frames

    def write(self, packet: Packet) -> None:
        """Add a frame. Raises ValueError when it is larger than the whole ring."""
        header, data = self._header, packet.data
        if len(data) > self._capacity:
            raise ValueError(f"a frame of {len(data)} bytes does not fit into {self._capacity}")
        number, at = header[_WRITTEN], header[_RESERVED]
        header[_RESERVED] = at + len(data)
        self._fence()
        start = at % self._capacity
        first = min(len(data), self._capacity - start)
        self._bytes[start : start + first] = data[:first]
        self._bytes[: len(data) - first] = data[first:]
        frame, mono_ns, *measured = astuple(packet.quality)
        place = (at, len(data), _FORMATS.index(packet.format), int(packet.key))
        self._entries[number % ENTRIES] = ((frame, mono_ns), measured, place)
        self._fence()
        header[_WRITTEN] = number + 1


class PacketReader(_End):
    """The recorder's end."""

    def __init__(self, descriptor: int) -> None:
        """Begins behind what a recorder before this one has synced, but with a keyframe: up to two seconds of
        frames are then in both of their files. Does not close the descriptor."""
        super().__init__(descriptor)
        self._taken = taken = self._header[_TAKEN]
        self._lost = 0
        self._needs_key = True
        for number in range(taken - 1, self._oldest() - 1, -1):
            if self._entries[number % ENTRIES]["place"][3]:
                self._taken = number
                break

    def begin(self) -> None:
        """A new file: what comes next has to be a keyframe."""
        self._needs_key = True

    def ask_key(self) -> None:
        """Have the encoder make its next frame a keyframe."""
        self._header[_WANTED] += 1

    @property
    def before_key(self) -> bool:
        """Whether the next frame is there, and a keyframe."""
        if self._taken >= self._header[_WRITTEN]:
            return False
        self._fence()
        return bool(self._entries[self._taken % ENTRIES]["place"][3])

    def take(self, until_key: bool = False) -> Iterator[Packet]:
        """The frames that are there, each once; `until_key`: those before the next keyframe."""
        while self._taken < (written := self._header[_WRITTEN]) and not (until_key and self.before_key):
            self._fence()
            if self._taken < written - ENTRIES:
                self._lose(written - ENTRIES - self._taken)
            number = self._taken
            entry = self._entries[number % ENTRIES].copy()
            at, size, form, key = entry["place"].tolist()
            start = at % self._capacity
            data = bytes(self._bytes[start : start + size])
            data += bytes(self._bytes[: size - len(data)])
            self._fence()
            # Looked at after the copy: what the encoder may have overwritten meanwhile is lost.
            if number < self._oldest() or (self._needs_key and not key):
                self._lose(1)
                continue
            self._needs_key = False
            self._taken += 1
            frame = FrameQuality(*entry["quality"].tolist(), *entry["measured"].tolist())
            yield Packet(frame, _FORMATS[form], bool(key), data)

    def done(self) -> None:
        """All that was taken is on the disk."""
        self._header[_TAKEN] = self._taken
        self._header[_LOST] += self._lost
        self._lost = 0

    def _lose(self, frames: int) -> None:
        self._taken += frames
        self._lost += frames
        self._needs_key = True

    def _oldest(self) -> int:
        """The oldest frame that nobody overwrites now."""
        header, written = self._header, self._header[_WRITTEN]
        oldest = max(written + 1 - ENTRIES, 0)
        while (
            oldest < written and self._entries[oldest % ENTRIES]["place"][0] < header[_RESERVED] - self._capacity
        ):
            oldest += 1
        return oldest
