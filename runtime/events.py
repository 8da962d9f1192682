"""Events: everything worth telling, said once, and delivered to the log, the recording and the socket."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

Level = Literal["info", "warning", "error"]

SAFETY_FAMILIES = ("safety.", "joint.", "robot.", "degraded.")
"""How the names of events begin that tell what stopped the robot; one that is more than information has."""

START_EVENTS = frozenset({"safety.started", "safety.watchdog_armed", "safety.watchdog_short"})
"""They warn of how a start went, and nothing has happened to the robot."""


def stops_robot(name: str, is_warning: bool) -> bool:
    """Whether an event tells of a stop that no operator has asked for. `is_warning`: or an error."""
    return is_warning and name.startswith(SAFETY_FAMILIES) and name not in START_EVENTS


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened."""

    name: str
    """What happened, as a dotted name that scripts can match: `policy.crashed`, `bus.joint_lost`."""
    level: Level
    message: str
    """One sentence for a person."""
    mono_ns: int
    """CLOCK_MONOTONIC, ns."""
    wall_ns: int
    """CLOCK_REALTIME, ns since the epoch."""
    fields: dict[str, Any] = field(default_factory=dict)
    """The facts: numbers and strings only."""


class Events:
    """The one road for events. `emit` is cheap enough for the tick; listeners must not block."""

    def __init__(self, keep: int = 1000) -> None:
        self.recent: deque[Event] = deque(maxlen=keep)
        self.counts: Counter[str] = Counter()
        self._listeners: list[Callable[[Event], None]] = []

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event from now on, on the thread that emits it."""
        self._listeners.append(listener)

    def emit(self, name: str, message: str, level: Level = "info", **fields: Any) -> Event:
        """Count the event, keep it and hand it to every listener. Callable from any thread."""
        event = Event(name, level, message, time.monotonic_ns(), time.time_ns(), fields)
        self.recent.append(event)
        self.counts[name] += 1
        for listener in self._listeners:
            listener(event)
        return event
