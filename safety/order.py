"""The order: what the supervisor tells the control loop to do."""

from __future__ import annotations

from typing import NamedTuple

from safety.action import Action


class Order(NamedTuple):
    """One order. It stands until the next one."""

    action: Action
    """What is called for now."""
    latched: bool
    """A stop is latched: nothing but a reset leads out of it."""
    speed: float
    """Part of its top speed that each joint may use, above 0, at most 1."""
    seen_ns: int = 0
    """When the supervisor saw what it is for, CLOCK_MONOTONIC, ns."""


class Orders:
    """Written by the supervisor, read by the loop in every tick, without a lock: one assignment publishes a whole
    order."""

    __slots__ = ("last",)

    def __init__(self) -> None:
        self.last = Order(Action.NONE, latched=False, speed=1.0)
        """The order in force."""
