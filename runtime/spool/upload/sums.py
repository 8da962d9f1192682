"""What a content is known by: as a whole, and in the parts that are sent."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

PART = 8 * 1024 * 1024
"""A longer segment goes in parts of this size, bytes. It never changes: what is there is found again by it."""
_BLOCK = 256 * 1024
"""So much is read at a time: it stays in the CPU's cache until all sums have had it."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What an object is known by."""

    size: int
    """Bytes."""
    sha256: str
    md5: str
    """What S3 calls its ETag; empty where no server was going to say it."""

    @classmethod
    def of(cls, data: bytes, md5: bool = True) -> Sums:
        """Take the sums of a content."""
        return cls(len(data), hashlib.sha256(data).hexdigest(), _md5(data).hexdigest() if md5 else "")


@dataclass(frozen=True, slots=True)
class FileSums:
    """What a segment is known by."""

    size: int
    sha256: str
    parts: tuple[Sums, ...]
    """Of each part, in their order; one of a segment that goes as one."""

    @classmethod
    def of(cls, path: Path, md5: bool = True) -> FileSums:
        """Read a whole file. Raises OSError."""
        with path.open("rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            whole = hashlib.sha256() if size > PART else None
            begins = range(0, max(size, 1), PART)
            parts = tuple(_part(file, min(PART, size - begin), whole, md5) for begin in begins)
        return cls(size, parts[0].sha256 if whole is None else whole.hexdigest(), parts)


def _part(file: FileIO, size: int, whole: Any, md5: bool) -> Sums:
    """The sums of the next `size` bytes, which `whole` gets too."""
    sha256, checksum = hashlib.sha256(), _md5() if md5 else None
    block, left = memoryview(bytearray(_BLOCK)), size
    while left:
        count = file.readinto(block[:left])
        if not count:
            raise OSError(f"{file.name} has become shorter")
        for one in (sha256, checksum, whole):
            if one is not None:
                one.update(block[:count])
        left -= count
    return Sums(size, sha256.hexdigest(), "" if checksum is None else checksum.hexdigest())


def read_part(path: Path, number: int) -> bytes:
    """The content of a part, from 0. Raises OSError."""
    with path.open("rb") as file:
        file.seek(number * PART)
        return file.read(PART)


def _md5(data: bytes = b"") -> Any:
    return hashlib.md5(data, usedforsecurity=False)
