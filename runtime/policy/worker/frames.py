"""A camera's frames in shared memory: one process writes them, any number read the newest and never wait.

Each slot has a sequence lock: its word is odd while a frame is written into it, and says afterwards which one. Who
reads looks at it before and after the copy, so nobody gets half a frame, and the writer knows of no reader.

Runs in the worker's interpreter and in those of cameras: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import threading
from dataclasses import dataclass
from typing import NamedTuple, Optional

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_MAGIC = b"reflexdF"
_VERSION = 1
# magic, version, width, height, slots
_HEADER = struct.Struct("<8sIIII")
# Header and slots begin on a cache line of their own; a slot's own header takes the first.
_LINE = 64
_WORDS = _LINE // 8
_NEWEST = 4
"""Word of the header: number of the newest frame that is whole, 0 before the first."""
_LOCK, _TIME = 0, 1
"""Words of a slot: twice the number of its frame, less one while that is written; capture time, ns."""
# A writer would have to be as many frames ahead within one copy: then it is the reader that is ill.
_TRIES = 4


@dataclass(frozen=True)
class FrameLayout:
    """How the memory of one camera is cut."""

    width: int
    height: int
    """Of a frame, pixels."""
    slots: int = 4
    """Frames that are kept: so many new ones may come before a copy under way is in vain."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a frame: height, width, and 3 for R, G, B."""
        return (self.height, self.width, 3)

    @property
    def stride(self) -> int:
        """Bytes from one slot to the next."""
        return _LINE + -(-3 * self.width * self.height // _LINE) * _LINE

    @property
    def size(self) -> int:
        """Bytes of the memory."""
        return _LINE + self.slots * self.stride


class Frame(NamedTuple):
    """One picture of a camera."""

    number: int
    """Counts up from 1 as long as the memory is there, also over a restart of the camera's process."""
    mono_ns: int
    """Moment of the capture, CLOCK_MONOTONIC, ns."""
    pixels: Pixels
    """R, G, B, shape (height, width, 3)."""


def create(layout: FrameLayout) -> int:
    """Descriptor of new shared memory for frames. The caller closes it."""
    descriptor = os.memfd_create("reflexd-frames", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, layout.size)
        # A process that goes wild and shrinks the file would otherwise kill the daemon with SIGBUS.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        os.pwrite(descriptor, _HEADER.pack(_MAGIC, _VERSION, layout.width, layout.height, layout.slots), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class _Frames:
    """What both ends have in common. The memory is mapped as long as the object lives."""

    def __init__(self, descriptor: int, access: int) -> None:
        memory = mmap.mmap(descriptor, 0, access=access)
        magic, version, width, height, slots = _HEADER.unpack_from(memory)
        if magic != _MAGIC or version != _VERSION:
            raise ValueError(
                f"shared memory of a camera: found {magic!r} version {version}, expected {_MAGIC!r} version "
                f"{_VERSION}; the processes are of different releases, restart the daemon"
            )
        self.layout = layout = FrameLayout(width, height, slots)
        """How the memory is cut."""
        self._words = memoryview(memory)[: layout.size].cast("q")
        self._pixels = [
            np.frombuffer(memory, np.uint8, 3 * width * height, 2 * _LINE + slot * layout.stride).reshape(
                layout.shape
            )
            for slot in range(slots)
        ]
        self._held = threading.Lock()
        self._held.acquire()

    def _slot(self, number: int) -> int:
        """The first word of the slot of frame `number`."""
        return _WORDS + number % self.layout.slots * (self.layout.stride // 8)

    def _fence(self) -> None:
        """No processor moves a load or a store over this: letting go of a lock ends what came before, and only
        then it is taken for what follows. x86 needs no more than the order of the program, ARM does."""
        self._held.release()
        self._held.acquire()


class FrameWriter(_Frames):
    """The camera's end. One at a time; the next one goes on counting where the last one was ended."""

    def __init__(self, descriptor: int) -> None:
        """Raises ValueError when it is no such memory. Does not close the descriptor."""
        super().__init__(descriptor, mmap.ACCESS_WRITE)

    def write(self, pixels: Pixels, mono_ns: int) -> int:
        """Make `pixels`, uint8, shape (height, width, 3), the newest frame, captured at `mono_ns`. Returns its
        number. Raises ValueError for another shape or type."""
        if pixels.shape != self.layout.shape or pixels.dtype != np.uint8:
            raise ValueError(
                f"found a frame of shape {pixels.shape} and type {pixels.dtype}, expected {self.layout.shape} "
                "and uint8"
            )
        number = self._words[_NEWEST] + 1
        slot = self._slot(number)
        self._words[slot + _LOCK] = 2 * number - 1
        self._fence()
        self._words[slot + _TIME] = mono_ns
        self._pixels[number % self.layout.slots][:] = pixels
        self._fence()
        self._words[slot + _LOCK] = 2 * number
        self._fence()
        self._words[_NEWEST] = number
        return number


class FrameReader(_Frames):
    """A consumer's end."""

    def __init__(self, descriptor: int) -> None:
        """Raises ValueError when it is no such memory. Does not close the descriptor."""
        super().__init__(descriptor, mmap.ACCESS_READ)

    def latest(self, after: int = 0) -> Optional[Frame]:
        """A copy of the newest frame; None while none is newer than number `after`. Never waits."""
        for _ in range(_TRIES):
            number = self._words[_NEWEST]
            if number <= after:
                return None
            slot = self._slot(number)
            whole = self._words[slot + _LOCK] == 2 * number
            self._fence()
            mono_ns = self._words[slot + _TIME]
            pixels = self._pixels[number % self.layout.slots].copy()
            self._fence()
            if whole and self._words[slot + _LOCK] == 2 * number:
                return Frame(number, mono_ns, pixels)
        return None

    def newest(self) -> tuple[int, int]:
        """Number and capture time (ns) of the newest frame, (0, 0) before the first: what a tick can pay for."""
        number = self._words[_NEWEST]
        return number, self._words[self._slot(number) + _TIME] if number else 0
