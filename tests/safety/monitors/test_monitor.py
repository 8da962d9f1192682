from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safety.action import Action
from safety.gate import Gate
from safety.monitors.monitor import Limits, Monitor, Words
from safety.watch import Clear, Flag

NAN = math.nan
LIMITS = Limits(
    near=1.0,
    stop=2.0,
    near_action=Action.WARN,
    stop_action=Action.CONTROLLED_STOP,
    clear=Clear.RESET,
    for_ns=2,
    clear_ns=3,
    unknown_ns=4,
)
WORDS = Words("the speed of {}", "rad/s", "its motor does not report it")


class Bench:
    """A monitor of two values, one look a nanosecond."""

    def __init__(self, limits: Limits = LIMITS, words: Words = WORDS, gate: Gate | None = None) -> None:
        self.values = np.zeros(2)
        self.monitor = Monitor("speed", ["a", "b"], lambda now_ns: self.values, [limits, limits], words, gate)
        self.now_ns = 0

    def look(self, *values: float, times: int = 1) -> Sequence[Flag]:
        self.values[:] = values
        flags: Sequence[Flag] = ()
        for _ in range(times):
            flags = self.monitor.look(self.now_ns)
            self.now_ns += 1
        return flags


def names(flags: Sequence[Flag]) -> list[tuple[str, Action]]:
    return [(flag.name, flag.action) for flag in flags]


def test_each_value_has_its_own_flag_and_the_worse_limit_wins() -> None:
    bench = Bench()
    assert not bench.look(1.5, 0.0, times=2)
    assert names(bench.look(1.5, 0.0)) == [("speed.a", Action.WARN)]
    assert names(bench.look(2.5, 2.5, times=2)) == [("speed.a", Action.WARN)]
    flags = bench.look(2.5, 2.5)
    assert names(flags) == [("speed.a", Action.CONTROLLED_STOP), ("speed.b", Action.CONTROLLED_STOP)]
    assert flags[0] == Flag(
        "speed.a",
        Action.CONTROLLED_STOP,
        Clear.RESET,
        "the speed of a is 2.5 rad/s, at most 2 rad/s is allowed",
    )
    assert names(bench.look(1.5, 0.0, times=4)) == [("speed.a", Action.WARN)]
    assert not bench.look(0.5, 0.0, times=4)


def test_a_warning_goes_by_itself() -> None:
    (flag,) = Bench().look(1.5, 0.0, times=3)
    assert flag.clear is Clear.GONE


def test_the_text_of_a_flag_is_that_of_its_beginning() -> None:
    bench = Bench()
    first = bench.look(2.5, 0.0, times=3)
    assert bench.look(9.0, 0.0, times=5) == first


def test_what_is_not_known_is_as_bad_as_beyond_the_second_limit() -> None:
    bench = Bench()
    assert not bench.look(NAN, 0.0, times=4)
    (flag,) = bench.look(NAN, 0.0)
    assert (flag.name, flag.action, flag.clear) == ("speed.a", Action.CONTROLLED_STOP, Clear.RESET)
    assert flag.text == "the speed of a is not known: its motor does not report it"
    assert len(bench.look(0.0, 0.0, times=3)) == 1
    assert not bench.look(0.0, 0.0)


@pytest.mark.parametrize(
    ("action", "unknown"),
    [(Action.SLOW, Action.SLOW), (Action.HOLD, Action.HOLD), (Action.TORQUE_OFF, Action.CONTROLLED_STOP)],
)
def test_what_is_not_known_takes_no_power_at_once(action: Action, unknown: Action) -> None:
    (flag,) = Bench(replace(LIMITS, stop_action=action)).look(NAN, 0.0, times=5)
    assert flag.action is unknown


def test_a_monitor_that_only_warns_warns_of_what_is_not_known() -> None:
    flags = Bench(replace(LIMITS, stop=None)).look(NAN, 99.0, times=5)
    assert names(flags) == [("speed.a", Action.WARN), ("speed.b", Action.WARN)]


def test_a_value_that_is_lost_while_too_high_stops_the_robot_in_its_time() -> None:
    bench = Bench()
    bench.look(2.5, 0.0)
    assert not bench.look(NAN, 0.0)
    assert names(bench.look(NAN, 0.0)) == [("speed.a", Action.CONTROLLED_STOP)]
    assert len(bench.look(NAN, 0.0, times=1000)) == 1


@pytest.mark.parametrize(
    ("value", "action"), [(2.0, None), (1.9, Action.WARN), (1.0, Action.WARN), (0.9, Action.HOLD)]
)
def test_limits_may_be_the_least_that_is_allowed(value: float, action: Action | None) -> None:
    limits = replace(LIMITS, near=2.0, stop=1.0, stop_action=Action.HOLD)
    flags = Bench(limits, replace(WORDS, least=True)).look(value, 5.0, times=3)
    assert names(flags) == ([("speed.a", action)] if action else [])
    if action is Action.HOLD:
        assert flags[0].text == "the speed of a is 0.9 rad/s, at least 1 rad/s is allowed"


def test_it_looks_only_while_the_gate_is_open_and_begins_anew_then() -> None:
    gate = Gate()
    bench = Bench(gate=gate)
    assert not bench.look(9.0, NAN, times=100)
    gate.permit()
    gate.open()
    assert not bench.look(9.0, 0.0, times=2)
    assert len(bench.look(9.0, 0.0)) == 1
    gate.close("test")
    assert not bench.look(9.0, 0.0)
    gate.permit()
    gate.open()
    assert not bench.look(9.0, 0.0, times=2)
    assert len(bench.look(9.0, 0.0)) == 1


steps = st.lists(st.tuples(*[st.sampled_from([0.0, 0.97, 1.5, 1.95, 2.5, NAN, math.inf])] * 2), max_size=40)


@given(steps)
def test_two_values_do_not_know_of_each_other(values: list[tuple[float, float]]) -> None:
    """The short way out, taken while all are well, changes nothing: a value alone has the same flags."""
    both, alone = Bench(), Bench()
    for one, other in values:
        together = [flag for flag in both.look(one, other) if flag.name == "speed.a"]
        assert together == list(alone.look(one, 0.0))
