from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from runtime.config.quality import Quality
from runtime.recording.quality.frame import FrameGauge, FrameQuality
from runtime.recording.quality.judge import judge
from runtime.recording.quality.limits import Limits, Success
from runtime.recording.quality.statistics import Statistics
from runtime.recording.trace import TraceLayout

MS = 1_000_000
LIMITS = Limits(**Quality().model_dump(exclude={"success"}))
LAYOUT = TraceLayout(["a", "b"], {"belt": {"count": 1}}, [])
RNG = np.random.default_rng(0)


def ticks(
    count: int, first_ns: int = 10 * MS, gate: int = 1, age_s: float = 0.01, count_read: float = 1.0
) -> NDArray[np.void]:
    """A hundred a second, all well."""
    records = LAYOUT.records(np.zeros((count, LAYOUT.words), np.int64))
    records["mono_ns"] = first_ns + np.arange(count) * 10 * MS
    records["gate"] = gate
    records["joints"]["age_s"] = age_s
    records["tail"][:, 0] = count_read
    return records


def frame(number: int, **differently: Any) -> FrameQuality:
    """Number n of a camera with 20 Hz, all well."""
    good = FrameQuality(
        number, number * 50 * MS, brightness=120.0, dark=0.1, bright=0.1, sharpness=200.0, change=3.0
    )
    return dataclasses.replace(good, **differently)


def second(frames: Mapping[int, FrameQuality | None] | None = None) -> Statistics:
    """A second in which all is well, but for these frames (None: missing)."""
    statistics = Statistics(LIMITS, ["a", "b"], {"wrist": 20.0}, 0, success_at=0)
    statistics.add_ticks(ticks(60))
    statistics.add_ticks(ticks(40, 610 * MS))
    for number in range(1, 21):
        if (found := (frames or {}).get(number, frame(number))) is not None:
            statistics.add_frame("wrist", found)
    return statistics


def reasons(statistics: Statistics, **more: Any) -> list[str]:
    return judge(statistics, 1000 * MS, **more)


def test_the_limits_are_those_of_the_config() -> None:
    assert {field.name for field in dataclasses.fields(Limits)} | {"success"} == set(Quality.model_fields)


def test_a_good_episode_has_no_reasons() -> None:
    assert reasons(second()) == []


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (
            {n: frame(n, sharpness=9.0) for n in (3, 4, 5)},
            "camera wrist: 15.0% of 20 frames are no good (3 blurred, 0 dark, 0 overexposed), "
            "at most 10.0% may be (bad_frames_max)",
        ),
        (
            {2: frame(2, dark=0.8), 3: frame(3, dark=0.8, sharpness=0.0), 4: frame(4, bright=0.6)},
            "camera wrist: 15.0% of 20 frames are no good (1 blurred, 2 dark, 1 overexposed), "
            "at most 10.0% may be (bad_frames_max)",
        ),
        (
            dict.fromkeys((5, 8, 12)),
            "camera wrist: 15.0% of 20 frames are missing, at most 10.0% may be (frames_missing_max)",
        ),
        (dict.fromkeys(range(1, 21)), "camera wrist: no frame was recorded"),
        (
            dict.fromkeys(range(1, 12)),
            "camera wrist: no frame for 0.6 s, at most 0.5 s may be (frame_gap_max)",
        ),
        (
            dict.fromkeys(range(9, 21)),
            "camera wrist: no frame for 0.6 s, at most 0.5 s may be (frame_gap_max)",
        ),
    ],
)
def test_bad_frames_are_a_reason(frames: dict[int, FrameQuality | None], reason: str) -> None:
    assert reasons(second(frames)) == [reason]


@pytest.mark.parametrize(
    "frames",
    [
        {n: frame(n, sharpness=9.0, dark=0.8) for n in (3, 4)},
        dict.fromkeys((5, 8)),
        {n: frame(n, sharpness=10.0, dark=0.7, bright=0.5) for n in range(1, 21)},
    ],
)
def test_what_may_be_is_no_reason(frames: dict[int, FrameQuality | None]) -> None:
    assert reasons(second(frames)) == []


def test_a_frozen_picture_is_a_reason_from_the_last_change_on() -> None:
    limits = dataclasses.replace(LIMITS, frozen_max=0.4)
    for until, expected in (
        (13, []),
        (14, ["camera wrist: the same picture for 0.45 s, at most 0.4 s may be (frozen_max)"]),
    ):
        statistics = Statistics(limits, ["a", "b"], {"wrist": 20.0}, 0)
        statistics.add_ticks(ticks(100))
        for number in range(1, 21):
            change = 0.0 if 6 <= number <= until else 3.0
            statistics.add_frame("wrist", frame(number, change=change))
        assert reasons(statistics) == expected


def test_frames_from_before_the_start_do_not_count() -> None:
    statistics = Statistics(LIMITS, [], {"wrist": 20.0}, 100 * MS)
    for number in (1, 2, 3, 4, 4):
        statistics.add_frame("wrist", frame(number))
    assert statistics.cameras["wrist"].frames == 2


def test_a_gap_between_ticks_is_a_reason_wherever_it_is() -> None:
    for before_ms, within_ms, after_ms in ((100, 100, 100), (101, 100, 100), (100, 101, 100), (100, 100, 101)):
        statistics = Statistics(LIMITS, ["a", "b"], {}, 0)
        statistics.add_ticks(ticks(50, before_ms * MS))
        statistics.add_ticks(ticks(50, statistics.last_ns + within_ms * MS))
        found = judge(statistics, statistics.last_ns + after_ms * MS)
        expected = ["no tick for 0.101 s, at most 0.1 s may be (tick_gap_max)"]
        assert found == (expected if before_ms + within_ms + after_ms > 300 else [])


def test_an_episode_without_ticks_is_bad() -> None:
    assert judge(Statistics(LIMITS, ["a"], {}, 0), 5) == ["no tick was recorded"]


@pytest.mark.parametrize(("step_ms", "told"), [(500, False), (501, True), (-501, True)])
def test_a_step_of_the_wall_clock_is_a_reason(step_ms: int, told: bool) -> None:
    statistics = second()
    for mono_ms, wall_ms in ((0, 10_000), (100, 10_101), (200, 10_201 + step_ms), (300, 10_300 + step_ms)):
        statistics.add_clock(mono_ms * MS, wall_ms * MS)
    expected = f"the wall clock stepped by {step_ms / 1e3:+.3g} s, at most 0.5 s may be (clock_step_max)"
    assert reasons(statistics) == ([expected] if told else [])


def test_goals_out_of_range_are_a_reason_that_names_the_joint() -> None:
    for bad, expected in (
        (20, []),
        (
            21,
            ["joint b: the goal was out of range in 21.0% of 100 ticks, at most 20.0% may be (out_of_range_max)"],
        ),
    ):
        records = ticks(100)
        records["joints"]["limits"][:bad, 1] = 1 | 4
        records["joints"]["limits"][:, 0] = 2 | 4 | 16
        statistics = Statistics(LIMITS, ["a", "b"], {}, 0)
        statistics.add_ticks(records)
        assert reasons(statistics) == expected


def test_a_goal_that_is_no_number_is_always_a_reason() -> None:
    records = ticks(100)
    records["joints"]["limits"][7, 0] = 8
    statistics = Statistics(LIMITS, ["a", "b"], {}, 0)
    statistics.add_ticks(records)
    assert reasons(statistics) == ["joint a: the goal was not a number in 1 ticks, none may be"]


def test_an_old_reading_is_a_reason() -> None:
    statistics = Statistics(LIMITS, ["a", "b"], {}, 0)
    statistics.add_ticks(ticks(50))
    records = ticks(50, 510 * MS)
    records["joints"]["age_s"][3, 1] = 0.21
    statistics.add_ticks(records)
    assert reasons(statistics) == ["joint b: a reading was 0.21 s old, at most 0.2 s may be (reading_age_max)"]


def test_ticks_without_commands_are_not_judged_by_joint() -> None:
    records = ticks(100, gate=0, age_s=9.0)
    records["joints"]["limits"] = 1 | 8
    statistics = Statistics(LIMITS, ["a", "b"], {}, 0)
    statistics.add_ticks(records)
    assert reasons(statistics) == []


@pytest.mark.parametrize(
    ("value", "outcome", "denied"),
    [(1.0, "success", False), (0.5, "success", True), (math.nan, "success", True), (0.5, "failure", False)],
)
def test_the_tasks_own_sensor_must_agree_with_a_success(value: float, outcome: str, denied: bool) -> None:
    statistics = second()
    statistics.add_ticks(ticks(1, 1000 * MS, count_read=value))
    found = reasons(statistics, outcome=outcome, success=Success("belt.count", 0, 1.0, None))
    expected = f"the outcome is a success, but belt.count[0] reads {value:g}, expected 1 ... inf (success)"
    assert found == ([expected] if denied else [])


def picture(low: int = 0, high: int = 256) -> NDArray[np.uint8]:
    return RNG.integers(low, high, (48, 64, 3), np.uint8)


def blurred(pixels: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    soft = pixels.astype(float)
    for _ in range(times):
        for axis in (0, 1):
            soft = (np.roll(soft, 1, axis) + soft + np.roll(soft, -1, axis)) / 3
    return soft.astype(np.uint8)


def test_exposure_of_a_frame() -> None:
    pixels = np.full((40, 60, 3), 100, np.uint8)
    pixels[:10] = 2
    pixels[10:15] = 255
    found = FrameGauge().measure(7, 9, pixels)
    assert (found.number, found.mono_ns) == (7, 9)
    assert (found.dark, found.bright) == pytest.approx((0.25, 0.125))
    assert found.brightness == pytest.approx(0.25 * 2 + 0.125 * 255 + 0.625 * 100, abs=0.7)


def test_luma_weighs_the_colours() -> None:
    for colour, luma in zip(np.eye(3, dtype=np.uint8) * 255, (76.2, 149.7, 29.1), strict=True):
        found = FrameGauge().measure(1, 1, np.broadcast_to(colour, (8, 8, 3)))
        assert found.brightness == pytest.approx(luma, abs=1.0)


def test_blur_lowers_sharpness() -> None:
    pixels = picture()
    sharpness = [FrameGauge().measure(1, 1, blurred(pixels, times)).sharpness for times in (0, 1, 3, 30)]
    assert sharpness == sorted(sharpness, reverse=True)
    assert sharpness[0] > 1000 * sharpness[-1]
    assert FrameGauge().measure(1, 1, np.full((48, 64, 3), 77, np.uint8)).sharpness == 0


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    pixels = np.repeat(RNG.integers(0, 256, (3, 9, 1), np.uint8), 3, axis=2)
    luma = pixels[..., 0].astype(int)
    laplacian = luma[0, 1:-1] + luma[2, 1:-1] + luma[1, :-2] + luma[1, 2:] - 4 * luma[1, 1:-1]
    assert FrameGauge().measure(1, 1, pixels).sharpness == pytest.approx(laplacian.var())


def test_change_to_the_frame_before() -> None:
    gauge, pixels = FrameGauge(), picture(10, 200)
    assert math.isnan(gauge.measure(1, 1, pixels).change)
    assert gauge.measure(2, 2, pixels).change == 0
    assert gauge.measure(3, 3, pixels + np.uint8(9)).change == pytest.approx(9, abs=0.1)
    assert gauge.measure(4, 4, pixels).change == pytest.approx(9, abs=0.1)
