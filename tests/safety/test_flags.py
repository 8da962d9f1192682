"""What a watch's flag does, until when, and what is told about it."""

from __future__ import annotations

from typing import Any

import pytest

from safety.action import Action
from safety.beat import LoopState
from safety.flags import Flags
from safety.order import Order
from safety.watch import Clear, Flag
from tests.interlock_bench import MS, TIMEOUT_MS, Bench

MOVING, HOLDING = LoopState.ENERGISED, LoopState.ENERGISED | LoopState.HOLDING


class Watch:
    """Says what the test wants it to."""

    def __init__(self) -> None:
        self.flags: list[Flag] = []
        self.defect: Exception | None = None
        self.looks = 0
        self.looked_ns = 0

    def look(self, now_ns: int) -> list[Flag]:
        self.looks += 1
        self.looked_ns = now_ns
        if self.defect:
            raise self.defect
        return self.flags

    def raise_(self, action: Action, clear: Clear = Clear.GONE, name: str = "zone.left") -> None:
        self.flags = [Flag(name, action, clear, f"somebody is near: {action.name}")]


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def bench(line: Any, events: Any, watch: Watch) -> Bench:
    return Bench(line, events, watches=[watch], slow_speed=0.25)


def order(bench: Bench) -> Order:
    """Without its time."""
    return bench.interlock.orders.last._replace(seen_ns=0)


def test_a_flag_that_goes_with_its_cause_slows_the_robot_as_long(bench: Bench, watch: Watch) -> None:
    bench.armed()
    assert order(bench) == Order(Action.NONE, False, 1.0)
    watch.raise_(Action.SLOW)
    assert set(bench.run(2 * TIMEOUT_MS, MOVING)) == {Action.SLOW}
    assert order(bench) == Order(Action.SLOW, False, 0.25)
    assert bench.interlock.standing == ["somebody is near: SLOW"]
    watch.flags = []
    assert bench.step(5, MOVING) == Action.NONE
    assert order(bench) == Order(Action.NONE, False, 1.0)
    assert bench.interlock.standing == []
    [flag] = bench.events.named("safety.flag")
    assert flag == {"flag": "zone.left", "action": "slow", "clear": "gone", "tick": 0}
    assert bench.events.named("safety.flag_gone") == [{"flag": "zone.left", "tick": 0}]
    assert not bench.events.named("safety.stop")


@pytest.mark.parametrize(("action", "category"), [(Action.HOLD, 2), (Action.CONTROLLED_STOP, 1)])
def test_a_stop_that_is_the_loops_tells_its_cause_and_what_was_seen(
    bench: Bench, watch: Watch, action: Action, category: int
) -> None:
    bench.armed()
    bench.heartbeat.beat(77, bench.now, MOVING)
    watch.raise_(action)
    bench.step(5, beat=None)
    [stop] = bench.events.named("safety.stop")
    assert stop == {
        "causes": ["zone.left"],
        "category": category,
        "estop": "released",
        "armed": True,
        "gate_open": True,
        "loop": "energised",
        "tick": 77,
        "beat_age_ms": 5.0,
    }
    assert order(bench).action == action
    assert bench.interlock.orders.last.seen_ns == bench.now
    bench.step(5, MOVING)
    assert len(bench.events.named("safety.stop")) == 1, "told once"
    assert bench.interlock.orders.last.seen_ns == bench.now - 5 * MS, "the time of the first sight"


def test_a_flag_that_gets_worse_is_told_again(bench: Bench, watch: Watch) -> None:
    bench.armed()
    for action in (Action.WARN, Action.SLOW, Action.HOLD, Action.HOLD, Action.TORQUE_OFF):
        watch.raise_(action)
        assert bench.step(5, MOVING) == action
    told = [fields["action"] for fields in bench.events.named("safety.flag")]
    assert told == ["warn", "slow", "hold", "torque_off"]
    assert [fields["category"] for fields in bench.events.named("safety.stop")] == [2]
    assert not bench.powered


@pytest.mark.parametrize("clear", [Clear.RESET, Clear.NEVER])
@pytest.mark.parametrize("action", [Action.SLOW, Action.HOLD, Action.CONTROLLED_STOP])
def test_a_flag_that_lasts_is_latched(bench: Bench, watch: Watch, action: Action, clear: Clear) -> None:
    bench.armed()
    watch.raise_(action, clear)
    bench.step(5, MOVING)
    assert order(bench).latched == (action >= Action.HOLD)
    assert bench.reset() == [f"somebody is near: {action.name}"], "its cause stands"
    watch.flags = []
    assert bench.step(5, HOLDING) == action, "its cause is gone, it is not"
    assert list(bench.interlock.latched) == ["zone.left"]
    if clear is Clear.NEVER:
        [text] = bench.reset()
        assert text.endswith("only a restart of the daemon clears this")
        assert bench.step(5, HOLDING) == action
    else:
        assert bench.reset() == []
        assert bench.step(5, HOLDING) == Action.NONE


@pytest.mark.parametrize("clear", Clear)
def test_torque_off_cuts_power_and_is_always_latched(bench: Bench, watch: Watch, clear: Clear) -> None:
    bench.armed()
    watch.raise_(Action.TORQUE_OFF, clear)
    bench.step(5, MOVING)
    assert not bench.powered
    assert bench.events.named("safety.torque_off")[0]["causes"] == ["zone.left"]
    watch.flags = []
    bench.step()
    assert bench.arm() == ["somebody is near: TORQUE_OFF; reset once the cause is gone"]
    assert bool(bench.reset()) == (clear is Clear.NEVER)


@pytest.mark.parametrize("clear", [Clear.GONE, Clear.RESET])
@pytest.mark.parametrize("action", [Action.WARN, Action.SLOW, Action.HOLD, Action.CONTROLLED_STOP])
def test_without_power_a_flag_is_a_warning_and_a_stop_a_reason_against_arming(
    bench: Bench, watch: Watch, action: Action, clear: Clear
) -> None:
    watch.raise_(action, clear)
    assert bench.step() == Action.WARN
    assert not bench.interlock.latched
    assert bench.arm() == ([f"somebody is near: {action.name}"] if action >= Action.HOLD else [])


def test_without_power_torque_off_is_latched_all_the_same(bench: Bench, watch: Watch) -> None:
    watch.raise_(Action.TORQUE_OFF)
    assert bench.step() == Action.TORQUE_OFF
    watch.flags = []
    bench.step()
    assert len(bench.arm()) == 1
    assert order(bench).latched


def test_what_was_latched_with_power_stays_latched_without_it(bench: Bench, watch: Watch) -> None:
    bench.armed()
    watch.raise_(Action.HOLD, Clear.RESET)
    bench.step(5, MOVING)
    bench.interlock.disarm(bench.now)
    assert bench.step() == Action.HOLD
    assert bench.reset() == ["somebody is near: HOLD"]
    watch.flags = []
    assert bench.step(3 * TIMEOUT_MS) == Action.HOLD, "and there is nothing left to stop"
    assert order(bench).latched
    assert bench.arm() == ["somebody is near: HOLD; reset once the cause is gone"]
    assert bench.reset() == []
    bench.armed()


def test_a_stop_takes_back_a_permission_to_open_the_gate(bench: Bench, watch: Watch) -> None:
    bench.beat()
    assert bench.arm() == []
    watch.raise_(Action.HOLD)
    bench.step()
    assert not bench.gate.open()


def test_a_stop_that_a_flag_calls_for_has_its_time_and_no_more(bench: Bench, watch: Watch) -> None:
    bench.armed()
    watch.raise_(Action.HOLD)
    assert set(bench.run(TIMEOUT_MS, MOVING)) == {Action.HOLD}
    watch.raise_(Action.CONTROLLED_STOP)
    assert bench.step(5, MOVING) == Action.CONTROLLED_STOP
    bench.step(5, MOVING)
    assert not bench.powered, "a stop that is raised gets no more time"
    assert "stop_overdue" in bench.interlock.latched


def test_a_robot_that_is_told_to_hold_may_hold_for_ever_but_not_move(bench: Bench, watch: Watch) -> None:
    bench.armed()
    watch.raise_(Action.HOLD)
    assert set(bench.run(3 * TIMEOUT_MS, HOLDING)) == {Action.HOLD}
    assert bench.powered
    bench.run(TIMEOUT_MS + 10, MOVING)
    assert not bench.powered


def test_a_watch_with_a_defect_cuts_power_and_is_named(bench: Bench, watch: Watch) -> None:
    bench.armed()
    watch.defect = ValueError("no such joint")
    assert bench.step(5, MOVING) == Action.TORQUE_OFF
    assert not bench.powered
    assert bench.reset() == ["a defect in the watch Watch: ValueError: no such joint"]
    watch.defect = None
    bench.step()
    assert bench.reset() == []


def test_what_stands_is_ordered_and_in_words(watch: Watch, events: Any) -> None:
    flags = Flags([watch], lambda *event, **fields: events(*event, fields))
    worse = Flag("b", Action.HOLD, Clear.GONE, "worse")
    better = Flag("a", Action.WARN, Clear.GONE, "not as bad")
    watch.flags = [worse, better]
    flags.look(5)
    assert watch.looked_ns == 5
    assert flags.standing == (better, worse)
    assert flags.text("a") == "not as bad"
    assert flags.text("c") == "c", "of one that does not stand the name is known"
    flags.tell()
    assert [(message, level) for _, message, level, _ in events] == [("not as bad", "warning"), ("worse", "error")]
    watch.flags = []
    flags.look(6)
    flags.tell()
    assert sorted(event[1:3] for event in events[2:]) == [("gone: not as bad", "info"), ("gone: worse", "info")]


def test_a_defect_is_a_flag_until_a_reset(watch: Watch, events: Any) -> None:
    flags = Flags([watch], events)
    watch.defect = ZeroDivisionError("division by zero")
    flags.look(0)
    text = "a defect in the watch Watch: ZeroDivisionError: division by zero"
    assert flags.standing == (Flag("watch.Watch", Action.TORQUE_OFF, Clear.RESET, text),)


def test_one_watch_with_a_defect_silences_no_other(line: Any, events: Any) -> None:
    broken, good = Watch(), Watch()
    broken.defect = ValueError("no such joint")
    good.raise_(Action.SLOW)
    bench = Bench(line, events, watches=[broken, good])
    bench.step()
    assert {fields["flag"] for fields in bench.events.named("safety.flag")} == {"watch.Watch", "zone.left"}


def test_the_estops_edge_does_not_wait_for_the_watches(bench: Bench, watch: Watch) -> None:
    bench.armed()
    looks = watch.looks
    bench.interlock.step(bench.now, estop_edge=True)
    assert not bench.powered
    assert watch.looks == looks


def test_a_robot_that_must_keep_its_torque_holds_after_a_controlled_stop(
    line: Any, events: Any, watch: Watch
) -> None:
    bench = Bench(line, events, watches=[watch], hold_after_stop=True).armed()
    watch.raise_(Action.CONTROLLED_STOP)
    assert bench.step(5, MOVING) == Action.HOLD
    watch.flags = []
    assert set(bench.run(3 * TIMEOUT_MS, HOLDING)) == {Action.HOLD}
    assert order(bench).latched
    assert bench.powered
    assert bench.reset() == []
    bench.interlock.request_stop(1, "asked", bench.now)
    assert bench.step(5, HOLDING) == Action.NONE, "it holds already"
    bench.estop.level = False
    bench.step(5, HOLDING)
    assert not bench.powered, "an e-stop takes the torque of every robot"
