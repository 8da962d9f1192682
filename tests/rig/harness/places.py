"""Where the rig keeps what it builds and what it finds."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[3]
"""The working tree."""
RIG = ROOT / "tests/rig"
CACHE = Path(os.environ.get("REFLEXD_RIG_CACHE", ROOT / ".rig"))
"""Machines and wheels: all of it can be deleted, and is made again."""
RESULTS = CACHE / "results"
"""Journals, recordings and figures of the last run, a folder per scenario."""


def tree() -> list[Path]:
    """All files of the working tree that git does not ignore, relative to it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.split("\0")
    return sorted(Path(name) for name in set(names) if name and (ROOT / name).is_file())


def digest(files: Iterable[Path], *words: str) -> str:
    """A short name for the content of these files (relative to the tree) and words."""
    total = hashlib.sha256()
    for word in words:
        total.update(word.encode() + b"\0")
    for file in files:
        total.update(bytes(file) + b"\0" + (ROOT / file).read_bytes() + b"\0")
    return total.hexdigest()[:16]
