"""The plan of a run made again of chunks, and what the envelope does to it; all in recorded time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from drivers.state import Floats, Ints
from runtime.config.config import Config
from runtime.config.models import Inference
from runtime.config.workspace import space
from runtime.control.seams.strategy import Name, strategy
from runtime.control.timeline import Timeline
from runtime.control.track import Track
from runtime.policy.chunk import Chunk
from runtime.policy.source import Source
from runtime.recording.reader import RecordedChunk
from runtime.replay.runs import Robot, Run
from safety.envelope import Envelope


class Laid(NamedTuple):
    """A chunk as it is laid over the plan."""

    at_ns: int
    """When it arrived."""
    begin_ns: int
    """When it takes over."""
    track: Track
    seam: Name
    """How it was joined to the plan."""


def lay(timeline: Timeline, laid: Laid, inference: Inference) -> None:
    """Lay a chunk over the plan as the planner did."""
    timeline.lay(
        laid.track, laid.at_ns, strategy(laid.seam, inference.seam_time, inference.seam_decay), laid.begin_ns
    )


def track(timeline: Timeline, source: Source, recorded: RecordedChunk, actions: Floats) -> Laid:
    """`actions` (raw, shape (H, A)) in the place of a recorded chunk."""
    about = recorded.about
    at_ns, t0_ns = about["arrived_mono_ns"], about["t0_mono_ns"]
    chunk = Chunk(t0_ns, actions, round(about["latency_s"] * 1e9), 0)
    # A robot that had no plan begins with the first action: `Planner.lay`.
    first_ns = t0_ns if timeline.end_ns > at_ns else at_ns
    return Laid(at_ns, about["seam_mono_ns"], source.track(chunk, first_ns), about["seam"])


def follow(config: Config, run: Run, robot: Robot, laid: Sequence[Laid]) -> tuple[Floats, Ints]:
    """The plan (rad) at every tick of a run, and the limits of the envelope that would act; shape (ticks, joints).

    The robot is shown as it was: it does not answer to what another plan would have it do.
    """
    assert config.policy is not None
    timeline, waiting = Timeline(), list(laid)
    envelope = Envelope(config.joints, config.period_s, robot.state, space(config))
    envelope.reset(run.command)
    goal, out = run.command.copy(), run.command.copy()
    plans: Floats = np.empty((len(run.ticks), len(goal)))
    limits: Ints = np.zeros((len(run.ticks), len(goal)), np.int64)
    starved = False
    for number, tick in enumerate(run.ticks):
        now_ns = int(tick["mono_ns"])
        while waiting and waiting[0].at_ns <= now_ns:
            lay(timeline, waiting.pop(0), config.policy)
        for name in ("position", "velocity"):
            getattr(robot.state, name)[:] = tick["joints"][name]
        if timeline.sample(now_ns - int(tick["lateness_ns"]), goal):
            starved = False
        elif not timeline.empty and not starved:
            starved = True
            envelope.stopping_point(goal)
        plans[number] = goal
        envelope.apply(goal, out)
        limits[number] = envelope.limits
    return plans, limits
