"""A config on its way from text to models: what is valid so far, and every mistake found until now."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.bus import Bus, BusOptions, CycleTime
from drivers.joint import Joint
from drivers.sensor import Sensor, SensorOptions
from runtime.config.degraded import Degraded
from runtime.config.errors import Mistake
from runtime.config.models import Control, Emulated, Policy, Realtime, Recording, Robot, Safety, Socket, Spool
from runtime.config.paths import Place, beside
from runtime.config.upload import Upload


@dataclass(frozen=True, slots=True)
class BusPlan:
    """One bus of the robot: everything that its driver is constructed from, and how busy it will be."""

    options: BusOptions
    driver: type[Bus]
    joints: tuple[Joint, ...]
    index: tuple[int, ...]
    """Place of each joint in the robot's arrays."""
    cycle: CycleTime


@dataclass(frozen=True, slots=True)
class SensorPlan:
    """One sensor of the robot: what its driver is constructed from."""

    options: SensorOptions
    driver: type[Sensor]


@dataclass(slots=True)
class Draft:
    """The raw tables, the models that were made of them (None: not valid or not there) and the mistakes."""

    path: Path
    table: dict[str, Any]
    mistakes: list[Mistake] = field(default_factory=list)
    robot: Robot | None = None
    control: Control | None = None
    realtime: Realtime | None = None
    safety: Safety | None = None
    degraded: Degraded | None = None
    policy: Policy | None = None
    recording: Recording | None = None
    spool: Spool | None = None
    upload: Upload | None = None
    socket: Socket | None = None
    emulated: Emulated | None = None
    buses: list[tuple[type[Bus], BusOptions] | None] = field(default_factory=list)
    joints: list[Joint | None] = field(default_factory=list)
    sensors: list[SensorPlan | None] = field(default_factory=list)
    plans: list[BusPlan] = field(default_factory=list)
    _refused: set[Place] = field(default_factory=set)

    def report(self, place: Place, text: str) -> None:
        """Add a mistake, unless the value was refused already."""
        if place not in self._refused:
            # Drivers and the joint's own model begin with the joint's name, which the key has already.
            own = f"joint {self.written('joint', place[1], 'name')}: " if place[0] == "joint" and place[1:] else ""
            self.mistakes.append(Mistake(self.key(place), _on_one_line(text.removeprefix(own))))

    def refuse(self, place: Place, text: str) -> None:
        """Add a mistake of a value that no model needs to look at any more."""
        self.report(place, text)
        self._refused.add(place)

    def key(self, place: Place) -> str:
        """The place as a person reads it; an entry of a list is given with its number and its name."""
        if len(place) < 2 or not isinstance(place[1], int):
            return _dotted(place)
        name = self.written(str(place[0]), place[1], "name") or ""
        head = f"{place[0]}[{place[1]}]" + (f" {name}" if name.isprintable() and name else "")
        return f"{head} . {_dotted(place[2:])}" if place[2:] else head

    def entries(self, section: str) -> list[dict[str, Any]]:
        """The raw entries of a list of tables; [] when there is none."""
        entries = self.table.get(section, [])
        return entries if isinstance(entries, list) else []

    def written(self, section: str, number: str | int, key: str) -> str | None:
        """A text of an entry as it was written, valid or not; None when it is not there or not a text."""
        entries = self.entries(section)
        entry = entries[number] if isinstance(number, int) and number < len(entries) else None
        value = entry.get(key) if isinstance(entry, dict) else None
        return value if isinstance(value, str) else None

    def existing_file(self, place: Place, name: Path | None, what: str) -> Path | None:
        """A file named in the config as an absolute path; reported when it is not there."""
        if name is None:
            return None
        path = Path(beside(self.path, str(name)))
        if not os.path.isfile(path):  # unlike Path.is_file it never raises
            self.report(
                place,
                f'found no file at {path}, expected {what}; put it there or correct "{name}" '
                "(a relative path starts at the config's folder)",
            )
        return path


def _dotted(place: Place) -> str:
    text = ""
    for part in place:
        name = _on_one_line(str(part))
        text += f"[{part}]" if isinstance(part, int) else f".{name}" if text else name
    return text


def _on_one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
