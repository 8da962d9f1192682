"""The quality gates: what is wrong with an episode, as a list of reasons. A pure function of its statistics."""

from __future__ import annotations

import math
from collections.abc import Iterator

from runtime.recording.quality.limits import Success
from runtime.recording.quality.statistics import CameraStatistics, Statistics

SUCCESS = "success"


def judge(statistics: Statistics, ended_ns: int, outcome: str = "", success: Success | None = None) -> list[str]:
    """Why an episode is bad, one sentence each with the figure and the limit; empty for a good one.

    `ended_ns`: its end, CLOCK_MONOTONIC. `outcome`: what the operator says. `success`: what the task's own sensor
    must read for a success.
    """
    return [
        *_ticks(statistics, ended_ns),
        *_joints(statistics),
        *(
            text
            for name, camera in statistics.cameras.items()
            for text in _camera(name, camera, statistics, ended_ns)
        ),
        *_outcome(statistics, outcome, success),
    ]


def _ticks(statistics: Statistics, ended_ns: int) -> Iterator[str]:
    limits = statistics.limits
    if not statistics.ticks:
        yield "no tick was recorded"
    elif (gap_s := max(statistics.gap_ns, ended_ns - statistics.last_ns) * 1e-9) > limits.tick_gap_max:
        yield f"no tick for {gap_s:.3g} s, at most {limits.tick_gap_max:g} s may be (tick_gap_max)"
    if abs(step_s := statistics.step_ns * 1e-9) > limits.clock_step_max:
        most = f"at most {limits.clock_step_max:g} s may be"
        yield f"the wall clock stepped by {step_s:+.3g} s, {most} (clock_step_max)"


def _joints(statistics: Statistics) -> Iterator[str]:
    limits = statistics.limits
    for number, joint in enumerate(statistics.joints):
        if bad := int(statistics.not_finite[number]):
            yield f"joint {joint}: the goal was not a number in {bad} ticks, none may be"
        share = statistics.out_of_range[number] / max(statistics.commanded, 1)
        if share > limits.out_of_range_max:
            yield (
                f"joint {joint}: the goal was out of range in {share:.1%} of {statistics.commanded} ticks, "
                f"at most {limits.out_of_range_max:.1%} may be (out_of_range_max)"
            )
        if (age_s := float(statistics.reading_age_s[number])) > limits.reading_age_max:
            yield (
                f"joint {joint}: a reading was {age_s:.3g} s old, at most {limits.reading_age_max:g} s may be "
                "(reading_age_max)"
            )


def _camera(name: str, camera: CameraStatistics, statistics: Statistics, ended_ns: int) -> Iterator[str]:
    limits = statistics.limits
    if not camera.frames:
        yield f"camera {name}: no frame was recorded"
        return
    if camera.bad / camera.frames > limits.bad_frames_max:
        yield (
            f"camera {name}: {camera.bad / camera.frames:.1%} of {camera.frames} frames are no good "
            f"({camera.blurred} blurred, {camera.dark} dark, {camera.bright} overexposed), at most "
            f"{limits.bad_frames_max:.1%} may be (bad_frames_max)"
        )
    if (frozen_s := camera.frozen_ns * 1e-9) > limits.frozen_max:
        most = f"at most {limits.frozen_max:g} s may be"
        yield f"camera {name}: the same picture for {frozen_s:.3g} s, {most} (frozen_max)"
    if (gap_s := max(camera.gap_ns, ended_ns - camera.last_ns) * 1e-9) > limits.frame_gap_max:
        most = f"at most {limits.frame_gap_max:g} s may be"
        yield f"camera {name}: no frame for {gap_s:.3g} s, {most} (frame_gap_max)"
    missing = camera.expected - camera.frames
    if missing / camera.expected > limits.frames_missing_max:
        yield (
            f"camera {name}: {missing / camera.expected:.1%} of {camera.expected} frames are missing, at most "
            f"{limits.frames_missing_max:.1%} may be (frames_missing_max)"
        )


def _outcome(statistics: Statistics, outcome: str, success: Success | None) -> Iterator[str]:
    if success is None or outcome != SUCCESS:
        return
    value = statistics.task_value
    low = success.min if success.min is not None else -math.inf
    high = success.max if success.max is not None else math.inf
    if not low <= value <= high:  # also NaN: a sensor that never read anything confirms nothing
        yield (
            f"the outcome is a success, but {success.sensor}[{success.element}] reads {value:g}, expected "
            f"{low:g} ... {high:g} (success)"
        )
