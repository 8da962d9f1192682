"""What a content is known by: as a whole, and in the parts that are sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

PART = 8 * 1024 * 1024
"""A longer segment goes in parts of this size, bytes. It never changes: what is there is found again by it."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What an object is known by."""

    size: int
    """Bytes."""
    sha256: str
    md5: str
    """What S3 calls its ETag."""

    @classmethod
    def of(cls, data: bytes) -> Sums:
        """Take the sums of a content."""
        return cls(
            len(data), hashlib.sha256(data).hexdigest(), hashlib.md5(data, usedforsecurity=False).hexdigest()
        )


@dataclass(frozen=True, slots=True)
class FileSums:
    """What a segment is known by."""

    size: int
    sha256: str
    parts: tuple[Sums, ...]
    """Of each part, in their order; one of a segment that goes as one."""

    @classmethod
    def of(cls, path: Path) -> FileSums:
        """Read a whole file. Raises OSError."""
        whole = hashlib.sha256()
        with path.open("rb") as file:
            if len(data := file.read(PART)) < PART:
                only = Sums.of(data)
                return cls(only.size, only.sha256, (only,))
            parts = []
            while data:
                whole.update(data)
                parts.append(Sums.of(data))
                data = file.read(PART)
        return cls(sum(part.size for part in parts), whole.hexdigest(), tuple(parts))


def read_part(path: Path, number: int) -> bytes:
    """The content of a part, from 0. Raises OSError."""
    with path.open("rb") as file:
        file.seek(number * PART)
        return file.read(PART)
