"""The commissioning stages, and which one is in force: it follows from what was signed off and what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """How much of the robot may be used. Each begins where the one before was signed off."""

    SENSORS = "sensors"
    """No motor is ever energised."""
    QUARTER = "25"
    HALF = "50"
    FULL = "100"

    @property
    def scale(self) -> float:
        """The part of every joint's `velocity_max` and of its motor's torque that may be used, 0..1."""
        return {Stage.QUARTER: 0.25, Stage.HALF: 0.5, Stage.FULL: 1.0}.get(self, 0.25)

    @property
    def next(self) -> Stage:
        """The stage that a sign-off leads to; the last one leads to itself."""
        order = list(Stage)
        return order[min(order.index(self) + 1, len(order) - 1)]

    @property
    def words(self) -> str:
        """Its name in sentences."""
        return self.value if self is Stage.SENSORS else f"{self.value} %"


@dataclass(frozen=True, slots=True)
class SignOff:
    """A person's word that this robot, with these parts, may work at this stage."""

    stage: Stage
    parts: Mapping[str, str]
    """SHA-256 of everything that the word is about, by name: see `runtime.stages.parts`."""
    by: str
    """Who signed."""
    user: str
    """The account from which it was signed, by the kernel's word."""
    operated_by: tuple[str, ...]
    """The accounts that operated the robot in the run before."""
    wall_ns: int
    """When, CLOCK_REALTIME, ns since the epoch."""


def in_force(signed: SignOff | None, parts: Mapping[str, str]) -> tuple[Stage, list[str]]:
    """The stage that holds for a robot of these parts, and what has lowered it, one sentence each."""
    if signed is None:
        return Stage.SENSORS, ["no sign-off is stored: a new robot"]
    changed = sorted(
        name for name in parts.keys() | signed.parts.keys() if parts.get(name) != signed.parts.get(name)
    )
    if not changed:
        return signed.stage, []
    return Stage.SENSORS, [f"{name} has changed since {signed.by} signed it off" for name in changed]
