"""An episode: one attempt at a task, from its start to its outcome, recorded as one or more whole segments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from runtime.spool.layout import Class

SUCCESS, FAILURE, DISCARDED = "success", "failure", "discarded"
GOOD, BAD = "good", "bad"
METADATA = "episode"
"""Name of the metadata record. A segment has it as it began and as the episode ended: the last one counts."""


@dataclass
class Episode:
    """Times are CLOCK_MONOTONIC (`mono`) and CLOCK_REALTIME (`wall`), ns."""

    id: str
    """Unique, over all starts of the daemon."""
    number: int
    """Counts up from 1 since the daemon's start; the ticks have it."""
    task: str
    """Name of the task; empty for a prompt of the operator's own words, or where there is no task."""
    prompt: str
    started_mono_ns: int
    started_wall_ns: int
    ended_mono_ns: int = 0
    """0 while it is open."""
    ended_wall_ns: int = 0
    outcome: str = ""
    """`success`, `failure` or `discarded`; empty while it is open, and for ever when it was cut off."""
    interventions: list[tuple[int, int, str]] = field(default_factory=list)
    """When operators moved the robot by hand after the policy had: start and end (mono), who."""
    notes: list[tuple[int, str, str]] = field(default_factory=list)
    """Operators' marks, and stops that latched: when (mono), note, who."""
    verdict: str = ""
    """`good` or `bad`; empty for one that was not judged, because it has no outcome."""
    reasons: list[str] = field(default_factory=list)
    """Why it is bad."""

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Episode:
        """From what `as_dict` gives."""
        return cls(**told)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for the recorder's process."""
        return asdict(self)

    def metadata(self, part: int) -> dict[str, str]:
        """The metadata record of its segment number `part`, from 1 on."""
        told = {**self.as_dict(), "part": part}
        return {key: value if isinstance(value, str) else json.dumps(value) for key, value in told.items()}

    def kind(self, stopped: bool) -> Class:
        """The class of all its segments. `stopped`: something has stopped the robot that no operator asked for."""
        return kind_of(self.outcome, self.verdict, bool(self.interventions), stopped)


def recorded_kind(metadata: Mapping[str, str]) -> Class:
    """The class of a segment with this metadata record, in which nothing has stopped the robot."""
    intervened = metadata.get("interventions", "[]") != "[]"
    return kind_of(metadata.get("outcome", ""), metadata.get("verdict", ""), intervened, stopped=False)


def kind_of(outcome: str, verdict: str, intervened: bool, stopped: bool) -> Class:
    """The class of an episode's segments: evidence of a stop is never put away as bad."""
    if stopped:
        return Class.SAFETY
    if verdict == BAD:
        return Class.REJECTED
    if intervened:
        return Class.INTERVENTION
    return Class.BULK if outcome == SUCCESS else Class.FAILURE
