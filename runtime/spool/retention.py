"""What has to go when there is no room: a pure function of what is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from runtime.spool.layout import Class, Entry, Reason, State


@dataclass(frozen=True, slots=True)
class Caps:
    """How much room the spool may take, bytes."""

    size_max: int
    """All segments together may be as large as this."""
    free_min: int
    """So much must be left on the disk."""


def next_to_go(entries: Iterable[Entry], used: int, free: int, caps: Caps) -> tuple[Entry, Reason] | None:
    """The segment to delete now and why; None when there is room, or nothing that may go.

    `used`: bytes of all segments, the one being written too. `free`: bytes left on the disk. What the server has
    goes first, then the least valuable class, then the oldest. Kept segments never go. When it is the disk
    that is short of room, which others may have filled, unsent safety segments do not go either.
    """
    if used <= caps.size_max and free >= caps.free_min:
        return None
    reason = Reason.SIZE_MAX if used > caps.size_max else Reason.FREE_MIN
    candidates = [
        entry
        for entry in entries
        if entry.state in (State.READY, State.SENT)
        and not entry.kept
        and not (reason == Reason.FREE_MIN and entry.state == State.READY and entry.kind == Class.SAFETY)
    ]
    if not candidates:
        return None
    return min(candidates, key=lambda entry: (entry.state == State.READY, entry.kind.worth, entry.name)), reason
