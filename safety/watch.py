"""What anything that watches the robot tells the safety task: flags. What follows from them is `safety.decide`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from safety.action import Action


class Clear(StrEnum):
    """What takes a flag away again."""

    GONE = "gone"
    """Its cause is gone."""
    RESET = "reset"
    """A person resets it, after its cause is gone."""
    NEVER = "never"
    """Nothing but a start of the daemon."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Something that is not as it should be, now."""

    name: str
    """What, the same for as long as it stands: `velocity.j1`."""
    action: Action
    """What it calls for while motors may have power."""
    clear: Clear
    text: str
    """For people: what was found, what was expected, where."""


class Watch(Protocol):
    """Looks at one kind of thing. It is called on the safety thread, at every check, and takes microseconds."""

    def look(self, now_ns: int) -> Sequence[Flag]:
        """What is wrong at `now_ns` (CLOCK_MONOTONIC, ns). Never waits, never raises."""
