"""Arming check: there is room for the recording."""

from __future__ import annotations

import os
from pathlib import Path


def disk(folder: Path, minimum_mb: float) -> list[str]:
    """`folder`: where recordings are written; it may not be there yet. `minimum_mb`: 10^6 bytes."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path("/"))
    try:
        found = os.statvfs(there)
    except OSError as error:
        return [f"the disk of {folder} does not tell how much room is left: {error.strerror}; look after it"]
    free_mb = found.f_bavail * found.f_frsize / 1e6
    if free_mb >= minimum_mb:
        return []
    return [
        f"the disk of {folder} has {free_mb:.0f} MB left, expected at least {minimum_mb:g} MB "
        "(safety.arming.disk_free); remove old recordings"
    ]
