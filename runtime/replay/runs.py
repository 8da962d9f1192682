"""The runs of a policy in a recording, and the robot as it was at any moment of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.sensor import Sensor
from drivers.state import Floats, JointState
from runtime.config.config import Config
from runtime.control.modes import Mode
from runtime.recording.reader import RecordedChunk, Records
from runtime.replay.errors import ReplayError
from safety.axis import Limit


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of mode AUTO."""

    ticks: Records
    begins: bool
    """Its beginning is in the recording: the plan before its first chunk is known, there was none."""
    command: Floats
    """What was commanded when it began, rad, shape (joints,)."""
    chunks: list[RecordedChunk]

    @property
    def start_ns(self) -> int:
        """CLOCK_MONOTONIC of its first tick."""
        return int(self.ticks["mono_ns"][0])

    @property
    def end_ns(self) -> int:
        """CLOCK_MONOTONIC of its last tick."""
        return int(self.ticks["mono_ns"][-1])


def runs(ticks: Records, chunks: Sequence[RecordedChunk]) -> list[Run]:
    """All runs that have chunks, the oldest first."""
    auto = np.concatenate(([0], (ticks["mode"] == Mode.AUTO).astype(np.int64), [0]))
    starts, ends = (np.diff(auto) == 1).nonzero()[0], (np.diff(auto) == -1).nonzero()[0]
    found = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        own = ticks[start:end]
        first_ns, last_ns = int(own["mono_ns"][0]), int(own["mono_ns"][-1])
        # The first tick of a run is after the request that began it, so nothing can have arrived before.
        laid = [chunk for chunk in chunks if first_ns <= chunk.about["arrived_mono_ns"] <= last_ns]
        if laid:
            before = ticks["joints"]["command"][max(start - 1, 0)]
            found.append(Run(own, start > 0, before, laid))
    return found


def limit_ticks(limits: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, int]:
    """Ticks in which a limit acted, by its name, and `any`; `limits`: bits, shape (ticks, joints)."""
    acted = np.bitwise_or.reduce(limits, axis=1)
    named = {str(limit.name).lower(): int((acted & limit > 0).sum()) for limit in Limit}
    return {"any": int((acted > 0).sum()), **{name: count for name, count in named.items() if count}}


class Robot:
    """Joints, sensors and commands as the recording has them, for those who know nothing of recordings."""

    def __init__(self, config: Config, ticks: Records) -> None:
        """`ticks`: all of the recording. Raises ReplayError when they are those of another robot."""
        names = ticks.dtype.names or ()
        fields = {
            f"{plan.options.name}_{field}".lower(): width
            for plan in config.sensors
            for field, width in plan.options.fields.items()
        }
        wrong = [name for name, width in fields.items() if name not in names or ticks[name].shape[1:] != (width,)]
        commands = list(config.policy.command) if config.policy else []
        wrong += [f"command_{name}" for name in commands if f"command_{name.lower()}" not in names]
        if ticks["joints"].shape[1] != len(config.joints):
            wrong.append(f"{len(config.joints)} joints")
        if wrong:
            raise ReplayError(
                f"{config.path.name}: found {', '.join(wrong)}, which the recording does not have; replay it with "
                "a config of the same joints, sensors and commands"
            )
        self.state = JointState(len(config.joints))
        self.sensors: list[Sensor] = [plan.driver(plan.options) for plan in config.sensors]
        self.commands: Floats = np.zeros(len(commands))
        """The operator's commands."""
        self._names = commands
        self._ticks = ticks
        age_ns = (ticks["joints"]["age_s"] * 1e9).round()
        self._stamps = ticks["mono_ns"][:, None] - np.nan_to_num(age_ns).astype(np.int64)

    def at(self, moment_ns: int) -> None:
        """Show what was known at a moment (CLOCK_MONOTONIC).

        A reading that was asked for before it counts, also where only the next tick tells of it. Of a sensor
        whose age was not recorded, by an older release, it is the reading of the tick before.
        """
        place = int(np.searchsorted(self._ticks["mono_ns"], moment_ns, side="right")) - 1
        last, after = max(place, 0), min(max(place, 0) + 1, len(self._ticks) - 1)
        here, later = self._ticks[last], self._ticks[after]
        newer = self._stamps[after] <= moment_ns
        for name in ("position", "velocity", "torque", "temperature", "voltage"):
            getattr(self.state, name)[:] = np.where(newer, later["joints"][name], here["joints"][name])
        self.state.stamp_ns[:] = np.where(newer, self._stamps[after], self._stamps[last])
        for sensor in self.sensors:
            self._show(sensor, here, later, moment_ns)
        self.commands[:] = [here[f"command_{name.lower()}"] for name in self._names]

    def _show(self, sensor: Sensor, here: Any, later: Any, moment_ns: int) -> None:
        age = f"{sensor.name}_age_s".lower()
        chosen, stamp_ns = here, int(here["mono_ns"])
        if age in (self._ticks.dtype.names or ()):
            stamps = [
                int(tick["mono_ns"]) - round(float(np.nan_to_num(tick[age])) * 1e9) for tick in (here, later)
            ]
            chosen, stamp_ns = (later, stamps[1]) if stamps[1] <= moment_ns else (here, stamps[0])
        for field, where in sensor.fields.items():
            sensor.values[where] = chosen[f"{sensor.name}_{field}".lower()]
        sensor.stamp_ns = stamp_ns


def moments(run: Run) -> Iterator[tuple[RecordedChunk, int]]:
    """Each chunk of a run, and when it was asked for (CLOCK_MONOTONIC, ns)."""
    for chunk in run.chunks:
        about = chunk.about
        # Where the policy was shown the robot as it would be, it was asked before the moment that it was shown.
        asked_ns = about["arrived_mono_ns"] - round(about["latency_s"] * 1e9)
        yield chunk, min(about["t0_mono_ns"], asked_ns)
