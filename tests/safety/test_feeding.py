from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from safety.beat import Heartbeat
from safety.errors import WatchdogError
from safety.feeding import Feeding
from safety.pulse import Pulse

MS = 1_000_000
STALL_MS = 20


@pytest.fixture
def tell(events: Any) -> Callable[[str, str, str], None]:
    return lambda name, message, level: events(name, message, level, {})


@pytest.fixture
def feed(tell: Any) -> Callable[..., Feeding]:
    def make(*watchdogs: Any, beat: Heartbeat | None = None, pulse: Pulse | None = None) -> Feeding:
        return Feeding(watchdogs, pulse, beat or Heartbeat(), STALL_MS * MS, tell)

    return make


def test_each_watchdog_is_fed_four_times_within_its_time(feed: Any, fake_watchdog: Any) -> None:
    mild, hard = fake_watchdog(0.2), fake_watchdog(0.8)
    feeding = feed(mild, hard)
    for ms in range(1000, 1800):
        feeding.step(ms * MS)
    assert (len(mild.fed), len(hard.fed)) == (16, 4)
    assert feeding.due_ns == 1800 * MS


def test_all_are_fed_before_the_loop_runs_and_while_it_beats(feed: Any, fake_watchdog: Any) -> None:
    watchdogs = [fake_watchdog(0.004), fake_watchdog(0.008)]
    beat = Heartbeat()
    feeding = feed(*watchdogs, beat=beat)
    fed: dict[int, int] = {}
    for ms in range(100, 200):
        if ms == 120:
            beat.beat(0, ms * MS, 0)  # the only beat
        feeding.step(ms * MS)
        fed[ms] = len(watchdogs[0].fed)
    assert fed[120 + STALL_MS] == 41, "no loop is expected, then a young beat"
    assert fed[199] == 41, "the beat is too old"
    assert len(watchdogs[1].fed) == 21
    assert feeding.due_ns is None, "nobody is woken for it"
    beat.beat(1, 200 * MS, 0)
    feeding.step(200 * MS)
    assert len(watchdogs[0].fed) == 42
    assert len(watchdogs[1].fed) == 22


def test_the_heartbeat_line_follows_the_same_rule_and_is_waited_for(
    feed: Any, fake_watchdog: Any, line: Any, tell: Any
) -> None:
    beat, wire = Heartbeat(), line()
    feeding = feed(fake_watchdog(40.0), beat=beat, pulse=Pulse(wire, 0.010, tell))
    beat.beat(0, 100 * MS, 0)
    feeding.step(100 * MS)
    assert wire.level
    assert feeding.due_ns == 105 * MS
    feeding.step(105 * MS)
    feeding.step(110 * MS)
    assert wire.level
    feeding.step(121 * MS)
    assert not wire.level
    assert feeding.due_ns is None


def test_one_that_cannot_be_fed_is_told_until_it_can_be(feed: Any, fake_watchdog: Any) -> None:
    good, bad = fake_watchdog(0.004, "the mild one"), fake_watchdog(0.004, "the hard one")
    feeding = feed(good, bad)
    bad.failure = OSError(5, "Input/output error")
    feeding.step(100 * MS)
    assert feeding.watchdog_problem == "the hard one cannot be fed: Input/output error"
    feeding.step(101 * MS)
    assert len(good.fed) == 2
    assert feeding.watchdog_problem
    bad.failure = None
    feeding.step(102 * MS)
    assert feeding.watchdog_problem == ""


@pytest.mark.parametrize(("timeout_s", "warned"), [(6.9, True), (7.0, False)])
def test_a_reset_that_leaves_no_time_for_a_restart_is_warned_of(
    feed: Any, fake_watchdog: Any, events: Any, timeout_s: float, warned: bool
) -> None:
    feed(fake_watchdog(2.0, "the mild one"), fake_watchdog(timeout_s, "the hard one")).open()
    assert events.names == ["safety.watchdog_armed"] * 2 + ["safety.watchdog_short"] * warned


def test_a_watchdog_that_cannot_be_armed_is_an_error(feed: Any, fake_watchdog: Any) -> None:
    first, second = fake_watchdog(), fake_watchdog()
    second.refusal = "busy"
    feeding = feed(first, second)
    with pytest.raises(WatchdogError, match="busy"):
        feeding.open()
    feeding.close(clean=True)
    assert first.calls == ["open", "disarm"]


@pytest.mark.parametrize(("clean", "call"), [(True, "disarm"), (False, "leave")])
def test_closing_leaves_the_heartbeat_inactive_and_tells_of_the_watchdogs(
    feed: Any, fake_watchdog: Any, line: Any, tell: Any, events: Any, clean: bool, call: str
) -> None:
    watchdog, wire = fake_watchdog(), line()
    feeding = feed(watchdog, pulse=Pulse(wire, 0.010, tell))
    feeding.step(100 * MS)
    feeding.close(clean)
    assert watchdog.calls[-1] == call
    assert not wire.level
    assert events.names == ["safety.watchdog_closed"]


def test_to_cut_power_the_heartbeat_line_rests_and_the_watchdogs_are_fed(
    feed: Any, fake_watchdog: Any, line: Any, tell: Any
) -> None:
    wire, watchdog = line(), fake_watchdog(0.004)
    feeding = feed(watchdog, pulse=Pulse(wire, 0.010, tell))
    for ms in range(100, 120):
        feeding.step(ms * MS)
    edges = len(wire.history)
    for ms in range(120, 160):
        feeding.step(ms * MS, power_cut=True)
        assert not wire.level
    assert len(wire.history) <= edges + 1
    assert len(watchdog.fed) == 60
    feeding.step(160 * MS)
    assert wire.level, "after a reset the wave goes on"


def test_what_is_told_of_arming_and_closing(feed: Any, fake_watchdog: Any, events: Any) -> None:
    feeding = feed(fake_watchdog(2.0, "the mild one"), fake_watchdog(6.0, "the hard one"))
    assert feeding.due_ns is None
    assert feeding.watchdog_problem == feeding.pulse_problem == ""
    feeding.open()
    feeding.close(clean=True)
    assert [event[:3] for event in events] == [
        ("safety.watchdog_armed", "the mild one is armed", "info"),
        ("safety.watchdog_armed", "the hard one is armed", "info"),
        (
            "safety.watchdog_short",
            "the hard one acts after 6 s: too soon for the mild one, which needs 2 s to act and about 5 s for the "
            "daemon to start again; raise safety.watchdog.timeout",
            "warning",
        ),
        ("safety.watchdog_closed", "the mild one is closed", "info"),
        ("safety.watchdog_closed", "the hard one is closed", "info"),
    ]


def test_one_that_has_nothing_to_say_of_its_end_is_not_told(feed: Any, fake_watchdog: Any, events: Any) -> None:
    class Silent(fake_watchdog):  # type: ignore[misc]
        def close(self, clean: bool) -> tuple[str, str]:
            return "", ""

    feed(Silent(), fake_watchdog(name="the other one")).close(clean=False)
    assert [event[1] for event in events] == ["the other one is closed"]


def test_every_problem_is_told(feed: Any, fake_watchdog: Any, line: Any, tell: Any) -> None:
    first, second, wire = fake_watchdog(0.004, "the mild one"), fake_watchdog(0.004, "the hard one"), line()
    feeding = feed(first, second, pulse=Pulse(wire, 0.010, tell))
    first.failure, second.failure, wire.stuck = OSError("no words"), OSError(5, "Input/output error"), True
    feeding.step(100 * MS)
    assert feeding.watchdog_problem == (
        "the mild one cannot be fed: no words; the hard one cannot be fed: Input/output error"
    )
    assert feeding.pulse_problem == "the heartbeat line cannot be driven: the wire is cut"


def test_nobody_is_waited_for_when_there_is_nobody(feed: Any) -> None:
    feeding = feed()
    feeding.step(100 * MS)
    assert feeding.due_ns is None
