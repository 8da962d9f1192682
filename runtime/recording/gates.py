"""The quality gates of a robot: what its episodes are judged by, as the recorder's process needs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from runtime.recording.quality.judge import judge
from runtime.recording.quality.limits import Limits, Success
from runtime.recording.quality.statistics import Statistics
from runtime.recording.trace import TraceLayout


@dataclass(frozen=True, slots=True)
class Gates:
    """Begins the statistics of an episode, and judges them."""

    limits: Limits
    success: Success | None
    layout: TraceLayout

    @classmethod
    def of(cls, quality: Mapping[str, Any], layout: TraceLayout) -> Gates:
        """`quality`: the section `[recording.quality]`."""
        limits = {key: value for key, value in quality.items() if key != "success"}
        success = Success(**quality["success"]) if quality["success"] is not None else None
        return cls(Limits(**limits), success, layout)

    def begin(self, started_ns: int) -> Statistics:
        """Of an episode that begins at this CLOCK_MONOTONIC."""
        place = None
        if self.success is not None:
            sensor, _, field = self.success.sensor.partition(".")
            place = self.layout.place(sensor, field) + self.success.element
        return Statistics(self.limits, self.layout.names[0], {}, started_ns, place)

    def judge(self, statistics: Statistics, ended_ns: int, outcome: str) -> list[str]:
        """Why the episode is bad; empty for a good one."""
        return judge(statistics, ended_ns, outcome, self.success)
