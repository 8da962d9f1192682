"""Arming checks of the policy: its model is the file that was meant, and it has answered a first inference."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

Version = tuple[int, int, int]
"""Inode, bytes and time of the last change (ns): differs when a file was replaced or written."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The model's file as it was when the daemon started."""

    path: Path
    sha256: str
    version: Version

    @classmethod
    def read(cls, path: Path) -> ModelFile:
        """Reads the whole file. One that cannot be read has an empty checksum. Never raises."""
        try:
            version = _version(path)  # first: what is written while we read shows later
            with path.open("rb") as file:
                return cls(path, hashlib.file_digest(file, "sha256").hexdigest(), version)
        except OSError:
            return cls(path, "", (0, 0, 0))


def model(file: ModelFile | None, expected: str | None) -> list[str]:
    """`file`: None where the policy has none. `expected`: SHA-256 of the config, None for any."""
    if file is None:
        return []
    if not file.sha256:
        return [f"the model {file.path} could not be read when the daemon started; look after it, then restart"]
    if expected is not None and file.sha256 != expected:
        return [
            f"the model {file.path} has the SHA-256 {file.sha256}, expected {expected} (policy.sha256); put the "
            "right file there, or correct the config"
        ]
    try:
        same = _version(file.path) == file.version
    except OSError as error:
        return [f"the model {file.path} cannot be read any more: {error.strerror}; put it back"]
    return [] if same else [f"the model {file.path} has changed since the daemon started; restart the daemon"]


def policy(configured: bool, ready: bool, error: str) -> list[str]:
    """`ready`: loaded, warm and healthy. `error`: why it is of no use and will never be, empty otherwise."""
    if not configured or (ready and not error):
        return []
    return [f"the policy is not ready: {error or 'it starts, or is started again; wait for its first inference'}"]


def _version(path: Path) -> Version:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns
