"""How the demo knows when a task is over and how well it went."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from runtime.cli.processes import Emulator
from runtime.config.config import Config

SETTLE_S = 2.0
"""The first seconds after a new velocity are not judged."""


class Judge(Protocol):
    """Judges one run of a task."""

    timeout_s: float
    """The run ends after this long at the latest, s."""

    def done(self) -> bool:
        """The task is over."""

    def line(self) -> str:
        """The score at a glance."""

    def result(self) -> dict[str, Any]:
        """Figures for the report; `success` says whether the task was fulfilled."""


class BeltJudge:
    """Cubes from a belt into a bin: nine of ten are a success."""

    def __init__(self, emulator: Emulator) -> None:
        self.timeout_s = 100.0
        self._emulator = emulator

    def done(self) -> bool:
        """All cubes were in the bin or missed."""
        return bool(self._emulator.ask("score")["score"]["done"])

    def line(self) -> str:
        """Cubes so far."""
        score = self._emulator.ask("score")["score"]
        return f"cubes {score['spawned']}/{score['total']}: {score['in_bin']} in the bin, {score['missed']} missed"

    def result(self) -> dict[str, Any]:
        """`in_bin`, `missed`, `total`, `success`."""
        score = self._emulator.ask("score")["score"]
        return {
            "in_bin": score["in_bin"],
            "missed": score["missed"],
            "total": score["total"],
            "success": score["in_bin"] >= 0.9 * score["total"],
        }


class WalkJudge:
    """A walk along the velocities of the config's schedule: no fall is a success."""

    def __init__(self, emulator: Emulator, config: Config) -> None:
        assert config.policy is not None
        steps = sorted(config.policy.schedule, key=lambda step: step.at)
        length = steps[-1].at - steps[-2].at if len(steps) > 1 else 20.0
        times = [step.at for step in steps] + [steps[-1].at + length]
        self._windows = [(a, b, step.set) for a, b, step in zip(times, times[1:], steps, strict=False)]
        self.timeout_s = times[-1]
        self._emulator = emulator
        self._log = config.places.run / "walk.npz"
        self._start_s = float(emulator.ask("state")["time"])

    def done(self) -> bool:
        """The robot fell, or the schedule is over."""
        return int(self._emulator.ask("score")["score"]["falls"]) > 0

    def line(self) -> str:
        """Time and falls."""
        walked = float(self._emulator.ask("state")["time"]) - self._start_s
        return f"{walked:.0f} of {self.timeout_s:.0f} s, {self._emulator.ask('score')['score']['falls']} falls"

    def result(self) -> dict[str, Any]:
        """Mean and rms error of each velocity that was commanded, and `falls`, `success`."""
        self._emulator.ask("log", path=str(self._log))
        falls = int(self._emulator.ask("score")["score"]["falls"])
        return {"falls": falls, "success": falls == 0, "windows": self._velocities(self._log)}

    def _velocities(self, path: Path) -> list[dict[str, Any]]:
        from drivers.emulated.walk import window

        with np.load(path) as log:
            rows = log["rows"]
        found = []
        for start, end, command in self._windows:
            target = (command.get("vx", 0.0), command.get("vy", 0.0), command.get("yaw", 0.0))
            figures = window(rows, self._start_s + start + SETTLE_S, self._start_s + end, target)
            found.append({"command": command, **{name: round(value, 4) for name, value in figures.items()}})
        return found


def judge(emulator: Emulator, config: Config) -> Judge:
    """The judge that fits the emulated task."""
    if "falls" in emulator.ask("score")["score"]:
        return WalkJudge(emulator, config)
    return BeltJudge(emulator)
