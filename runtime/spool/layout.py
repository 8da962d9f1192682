"""Names: the folder and the name of a file are the state of a segment, so `ls -R` shows the whole spool.

    open/NAME.mcap                     being written, or cut off and not yet recovered
    ready/CLASS/NAME.mcap              whole, the server does not have it
    sent/CLASS/NAME.mcap               whole, the server has confirmed it
    lost/CLASS/NAME.BYTES.REASON       deleted before the server had it: an empty file
    reported/CLASS/NAME.BYTES.REASON   the same, and the server has been told

`NAME.keep.mcap` is a segment that an operator wants to keep.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

SUFFIX = ".mcap"
KEEP = ".keep"
OPEN = "open"


class Class(StrEnum):
    """What a segment is worth, the least valuable class first."""

    REJECTED = "rejected"
    """Episodes that the quality gates have found bad."""
    BULK = "bulk"
    FAILURE = "failure"
    INTERVENTION = "intervention"
    SAFETY = "safety"

    @property
    def worth(self) -> int:
        """0 for the least valuable class."""
        return _WORTH[self]


_WORTH = {kind: number for number, kind in enumerate(Class)}


class State(StrEnum):
    """The folder of a segment that is no longer being written."""

    READY = "ready"
    SENT = "sent"
    LOST = "lost"
    REPORTED = "reported"


class Reason(StrEnum):
    """Why a segment was lost."""

    SIZE_MAX = "size_max"
    FREE_MIN = "free_min"
    UNREADABLE = "unreadable"
    """It held no whole chunk."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A segment as its file tells it."""

    root: Path
    state: State
    kind: Class
    name: str
    bytes: int
    """Size of its file; of a lost one the size that it had."""
    kept: bool = False
    reason: Reason | None = None
    """Why it was lost; None while it is there."""

    @property
    def path(self) -> Path:
        """Where it lies."""
        last = f"{self.name}.{self.bytes}.{self.reason}" if self.reason else whole(self.name, self.kept)
        return self.root / self.state / self.kind / last


def whole(name: str, kept: bool = False) -> str:
    """The file name of a segment that is there."""
    return f"{name}{KEEP if kept else ''}{SUFFIX}"


def folders(root: Path) -> list[Path]:
    """All folders of a spool, the outer ones first."""
    inner = [root / state / kind for state in State for kind in Class]
    return [root, root / OPEN, *(root / state for state in State), *inner]


def parse(root: Path, state: State, kind: Class, file: str, size: int) -> Entry | None:
    """What a file in `state/kind` is; None when it is nothing of ours."""
    if state in (State.LOST, State.REPORTED):
        name, _, rest = file.partition(".")
        held, _, reason = rest.partition(".")
        if not name or not held.isdecimal() or reason not in list(Reason):
            return None
        return Entry(root, state, kind, name, int(held), reason=Reason(reason))
    stem = file.removesuffix(SUFFIX)
    name = stem.removesuffix(KEEP)
    if stem == file or not name:
        return None
    return Entry(root, state, kind, name, size, kept=name != stem)


def find(path: Path) -> Path:
    """Where the segment is now that was being written at `path`, if it is anywhere."""
    return next(path.parent.parent.glob(f"*/*/{path.stem}.*"), path)


def free_name(root: Path, name: str, own: Path | None = None) -> str:
    """A name that no segment has, but perhaps the one at `own`: this one, or with a number behind it."""
    number, free = 1, name
    while not _is_free(root, free, own):
        number += 1
        free = f"{name}-{number}"
    return free


def _is_free(root: Path, name: str, own: Path | None) -> bool:
    # Also names of lost segments: a clock that was set back gives the same time twice.
    here = root / OPEN / whole(name)
    return (here == own or not here.exists()) and not any(root.glob(f"*/*/{name}.*"))
