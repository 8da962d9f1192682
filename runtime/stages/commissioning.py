"""Commissioning of a running robot: its stage, the clock of its run, and the verb `promote`."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from runtime.config.models import Stages
from runtime.events import Event, Events, stops_robot
from runtime.kept import StoreError
from runtime.link.errors import Refused
from runtime.stages import store
from runtime.stages.people import Person, objections
from runtime.stages.run import Run
from runtime.stages.stage import SignOff, Stage, in_force


class Commissioning:
    """One for a daemon whose config has [safety.stages]. All but `heard` runs on the loop's thread."""

    def __init__(
        self,
        options: Stages,
        path: Path,
        events: Events,
        set_limit: Callable[[float], object],
        works: Callable[[Stage], bool],
        energised: Callable[[], bool],
        clock: Callable[[], int] = time.monotonic_ns,
        person: Callable[[int], Person] = Person.of,
    ) -> None:
        """Nothing is energised before `begin`.

        `path`: file of the sign-off. `set_limit`: takes the part (0..1) of the joints' top speed and torque that
        is allowed. `works`: whether the robot works now, as far as its stage allows: this time counts.
        `person`: by user id.
        """
        self.stage = Stage.SENSORS
        """The stage in force."""
        self.lowered: list[str] = ["the daemon has not looked yet"]
        """Why it is lower than what was signed off last, one sentence each; empty when it is not."""
        self.run = Run(round(options.run_minutes * 60e9))
        self._options = options
        self._path = path
        self._events = events
        self._set_limit = set_limit
        self._works = works
        self._energised = energised
        self._clock = clock
        self._person = person
        self._parts: Mapping[str, str] = {}
        self._operators: set[int] = set()
        self._breaks: deque[str] = deque(maxlen=16)
        self._lock = asyncio.Lock()

    def begin(self, parts: Mapping[str, str]) -> None:
        """Take up the stage that was signed off for these parts, or the lowest one. Never raises."""
        self._parts = parts
        try:
            stage, lowered = in_force(store.read(self._path), parts)
        except StoreError as error:
            stage, lowered = Stage.SENSORS, [str(error)]
        self._take(stage, lowered)
        if lowered:
            told = f"the robot is at the stage {stage.words}: {'; '.join(lowered)}"
            self._events.emit("stage.lowered", told, level="warning", stage=stage.value)
        self._events.listen(self.heard)

    def heard(self, event: Event) -> None:
        """Called with every event, on any thread: a safety event breaks the run."""
        if stops_robot(event.name, event.level != "info"):
            self._breaks.append(event.message)

    def operated(self, uid: int) -> None:
        """A user has operated the robot."""
        self._operators.add(uid)

    def look(self) -> None:
        """Go on with the clock of the run. Call it about once a second."""
        self.run.look(self._clock(), self._works(self.stage))
        while self._breaks:
            self.run.begin_anew(broken_by=self._breaks.popleft())

    def reasons(self) -> list[str]:
        """Why no motor may be energised at this stage; empty when they may."""
        if self.stage is not Stage.SENSORS:
            return []
        return [
            "the robot is at the commissioning stage sensors, at which no motor is energised: it takes a run of "
            f"{self._options.run_minutes:g} min and `reflexctl promote`",
            *(f"stage sensors: {reason}" for reason in self.lowered),
        ]

    def status(self) -> dict[str, Any]:
        """For `reflexctl status`: stage, its scale, the run so far (s) and why the stage was lowered."""
        return {
            "name": self.stage.value,
            "scale": 0.0 if self.stage is Stage.SENSORS else self.stage.scale,
            "run_s": round(self.run.elapsed_ns / 1e9, 1),
            "needed_s": round(self.run.needed_ns / 1e9, 1),
            "broken_by": self.run.broken_by or None,
            "lowered": list(self.lowered),
        }

    async def promote(self, by: str, uid: int) -> dict[str, Any]:
        """Go to the next stage on the word of `by`, whose user id is `uid`. Raises Refused with all reasons."""
        async with self._lock:
            stage = self.stage
            if stage is Stage.FULL:
                raise Refused("stage", "the robot is at the last stage, 100 %, already")
            uids = (uid, *self._operators)
            # In a thread: names may come from a directory service.
            signer, *operators = await asyncio.to_thread(lambda: [self._person(one) for one in uids])
            self.look()
            reasons = self._missing() + objections(by, signer, set(operators), self._options.single_person)
            if reasons:
                raise Refused("stage", f"the robot stays at the stage {stage.words}", reasons)
            names = tuple(sorted(person.name for person in operators))
            signed = SignOff(stage.next, dict(self._parts), by, signer.name, names, time.time_ns())
            try:
                await asyncio.to_thread(store.write, self._path, signed)
            except OSError as error:
                reason = f"{self._path} cannot be written: {error.strerror}; look after the disk and try again"
                raise Refused("stage", f"the robot stays at the stage {stage.words}", [reason]) from None
            self._take(signed.stage, [])
            self._operators.clear()
        text = f"{by} signed the stage {stage.words} off: from now on {self.stage.words}"
        self._events.emit(
            "stage.promoted", text, stage=self.stage.value, by=by, user=signer.name, operated_by=", ".join(names)
        )
        return self.status()

    def _missing(self) -> list[str]:
        reasons = []
        if self._energised():
            reasons.append("the motors are energised, expected them to be off; disarm the robot first")
        if not self.run.complete:
            elapsed_min, needed_min = self.run.elapsed_ns / 60e9, self.run.needed_ns / 60e9
            how = (
                "in STANDBY, with every joint and sensor read"
                if self.stage is Stage.SENSORS
                else "in AUTO or MANUAL"
            )
            broken = f"; it began anew because of: {self.run.broken_by}" if self.run.broken_by else ""
            reasons.append(
                f"the run has lasted {elapsed_min:.1f} min, expected {needed_min:g} min {how} without a safety "
                f"event{broken}; go on with it"
            )
        return reasons

    def _take(self, stage: Stage, lowered: list[str]) -> None:
        self.stage, self.lowered = stage, lowered
        self.run.begin_anew()
        self._set_limit(stage.scale)
