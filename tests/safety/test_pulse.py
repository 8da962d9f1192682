from __future__ import annotations

from typing import Any

import pytest

from safety.pulse import Pulse

MS = 1_000_000


class Bench:
    """A heartbeat line of 20 ms and the time in the test's hand; `edges` are its changes in ms."""

    def __init__(self, line: Any, events: Any) -> None:
        self.line = line()
        self.events = events
        self.pulse = Pulse(self.line, 0.020, lambda name, message, level: events(name, message, level, {}))
        self.edges: list[tuple[int, bool]] = []

    def run(self, start_ms: int, end_ms: int, alive: bool = True) -> None:
        for ms in range(start_ms, end_ms):
            self.at(ms, alive)

    def at(self, ms: int, alive: bool = True) -> None:
        before = self.line.level
        self.pulse.step(ms * MS, alive)
        if self.line.level != before:
            self.edges.append((ms, self.line.level))


@pytest.fixture
def bench(line: Any, events: Any) -> Bench:
    return Bench(line, events)


def test_it_is_a_square_wave(bench: Bench) -> None:
    bench.run(100, 151)
    assert bench.edges == [(100, True), (110, False), (120, True), (130, False), (140, True), (150, False)]
    assert bench.pulse.due_ns == 160 * MS
    assert len(bench.line.history) == 6, "it is driven at the edges alone"


def test_an_edge_that_is_a_little_late_does_not_move_the_next_ones(bench: Bench) -> None:
    for ms in (100, 113, 120, 134, 140):
        bench.at(ms)
    assert bench.edges == [(100, True), (113, False), (120, True), (134, False), (140, True)]


def test_an_edge_that_is_very_late_is_followed_by_a_whole_half_period(bench: Bench) -> None:
    bench.at(100)
    bench.run(217, 240)
    assert bench.edges == [(100, True), (217, False), (227, True), (237, False)]


@pytest.mark.parametrize(("late_ms", "next_ms"), [(114, 120), (115, 125)])
def test_an_edge_is_very_late_from_a_quarter_of_the_period_on(bench: Bench, late_ms: int, next_ms: int) -> None:
    bench.at(100)
    bench.run(late_ms, 126)
    assert bench.edges == [(100, True), (late_ms, False), (next_ms, True)]


@pytest.mark.parametrize("end_ms", [105, 115])
def test_without_life_it_rests_inactive_at_once_and_begins_anew(bench: Bench, end_ms: int) -> None:
    bench.run(100, end_ms)
    bench.run(end_ms, 200, alive=False)
    assert not bench.line.level
    assert bench.edges[-1] == (end_ms if end_ms == 105 else 110, False)
    assert bench.pulse.due_ns is None
    bench.at(203)
    assert bench.edges[-1] == (203, True)


def test_a_line_that_is_gone_is_a_problem_until_it_is_back(bench: Bench) -> None:
    bench.at(100)
    bench.line.broken = True
    bench.at(110)
    assert bench.pulse.problem == "the wire is cut"
    assert bench.line.closed
    assert bench.pulse.due_ns is None
    driven = len(bench.line.history)
    bench.run(111, 1500)
    assert bench.line.tries == 1
    assert len(bench.line.history) == driven
    bench.line.broken = False
    bench.run(1500, 2300)
    assert bench.pulse.problem == ""
    assert bench.events.names == ["safety.line_lost", "safety.line_back"]
    assert bench.edges[-1][0] > 2280, "it beats again"


@pytest.mark.parametrize("rests_ms", [105, 115], ids=["high", "low"])
def test_a_line_that_is_lost_at_rest_is_a_problem_before_it_is_needed(bench: Bench, rests_ms: int) -> None:
    bench.run(100, rests_ms)
    bench.line.broken = True
    bench.at(rests_ms, alive=False)
    assert bench.pulse.problem == "the wire is cut"


def test_it_ends_inactive(bench: Bench) -> None:
    bench.at(100)
    bench.pulse.close()
    assert not bench.line.level
    assert bench.line.closed
    bench.line.broken = True
    bench.pulse.close()


def test_a_line_that_opens_but_cannot_be_driven_stays_lost_and_comes_back_inactive(line: Any, events: Any) -> None:
    class Undriven(line):  # type: ignore[misc]
        def reopen(self) -> None:
            self.tries += 1

    wire = Undriven()
    pulse = Pulse(wire, 0.020, lambda *event: events(*event, {}))
    assert pulse.due_ns is None
    pulse.step(0, alive=True)
    wire.stuck = True
    pulse.step(10 * MS, alive=True)
    assert events[0][1].startswith("the heartbeat line is gone: the wire is cut;")
    pulse.step(1010 * MS, alive=True)
    assert wire.tries == 1
    assert pulse.problem == "the wire is cut"
    wire.stuck = False
    pulse.step(2010 * MS, alive=True)
    assert pulse.problem == ""
    assert wire.history[-1] is False
    pulse.step(2011 * MS, alive=True)
    assert wire.history[-1] is True, "the wave begins anew"
    assert pulse.due_ns == 2021 * MS


def test_a_wave_ends_without_another_edge_due(bench: Bench) -> None:
    bench.at(100)
    bench.pulse.close()
    assert bench.pulse.due_ns is None
