from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.monitors.threshold import HYSTERESIS, Threshold

NAN = math.nan


def run(values: str, for_ns: int, clear_ns: int) -> str:
    """Judges one value a nanosecond: `-` well below the limit, `=` within the hysteresis, `+` above, `?` NaN."""
    numbers = {"-": 1.8, "=": 1.95, "+": 2.1, "?": NAN}
    threshold = Threshold(2.0, for_ns, clear_ns)
    return "".join("X" if threshold.judge(numbers[value], now) else "." for now, value in enumerate(values))


@pytest.mark.parametrize(
    ("values", "for_ns", "clear_ns", "exceeded"),
    [
        # At once, both ways.
        ("-+-+", 0, 0, ".X.X"),
        # The limit itself is allowed, and within the hysteresis nothing changes.
        ("=+=-=", 0, 0, ".XX.."),
        # It must last, without a gap.
        ("-+++-+++++--", 3, 0, "........XX.."),
        # So must the way back, and what is not well below begins it anew.
        ("+--=---+", 0, 2, "XXXXXX.X"),
        # NaN counts towards a stop that has begun, and begins none.
        ("+??+", 3, 0, "...X"),
        ("+???", 3, 0, "...X"),
        ("-????", 3, 0, "....."),
        # NaN is no proof that it is well again.
        ("+-?--?---", 0, 2, "XXXXXXXX."),
        ("+????", 0, 0, "XXXXX"),
    ],
)
def test_it_is_exceeded_when_it_has_lasted(values: str, for_ns: int, clear_ns: int, exceeded: str) -> None:
    assert run(values, for_ns, clear_ns) == exceeded


@pytest.mark.parametrize(("limit", "well"), [(2.0, 1.9), (-2.0, -2.1), (0.0, 0.0)])
def test_hysteresis_points_away_from_the_limit_whatever_its_sign(limit: float, well: float) -> None:
    threshold = Threshold(limit, 0, 0)
    assert not threshold.judge(limit, 0)
    assert threshold.judge(limit + 0.01, 1)
    assert threshold.judge(well + 1e-9, 2)
    assert not threshold.judge(well, 3)


@given(st.lists(st.sampled_from("-=+?"), max_size=30), st.integers(0, 4), st.integers(0, 4))
def test_it_never_forgives_early_and_never_accuses_early(values: list[str], for_ns: int, clear_ns: int) -> None:
    found = run("".join(values), for_ns, clear_ns)
    assert len(found) == len(values)
    for now, state in enumerate(found):
        before = found[now - 1] if now else "."
        if before == "." and state == "X":
            assert set(values[now - for_ns : now + 1]) <= {"+", "?"}
            assert values[now - for_ns] == "+"
        if before == "X" and state == ".":
            assert set(values[now - clear_ns : now + 1]) == {"-"}
        if state == ".":
            assert values[max(0, now - for_ns) : now + 1] != ["+"] * (for_ns + 1)


@given(st.lists(st.sampled_from("-=+?"), max_size=30))
def test_idle_means_that_a_value_below_changes_nothing(values: list[str]) -> None:
    numbers = {"-": 1.8, "=": 1.95, "+": 2.1, "?": NAN}
    threshold = Threshold(2.0, 2, 2)
    for now, value in enumerate(values):
        threshold.judge(numbers[value], now)
        if threshold.idle:
            assert not threshold.exceeded
            assert not threshold.judge(numbers["="], now)
            assert threshold.idle


def test_it_can_start_over() -> None:
    threshold = Threshold(2.0, 2, 0)
    threshold.judge(3.0, 0)
    threshold.forget()
    assert not threshold.judge(3.0, 2)
    assert threshold.judge(3.0, 4)
    threshold.forget()
    assert threshold.idle
    assert HYSTERESIS > 0
