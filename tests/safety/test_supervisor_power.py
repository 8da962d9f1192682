"""What cuts power, with the supervisor's real thread: lines, the loop, watches."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from safety.action import Action
from safety.beat import LoopState
from safety.watch import Clear, Flag
from tests.supervisor_bench import Robot


def test_a_press_cuts_power(build: Callable[..., Robot], wait_until: Any, events: Any) -> None:
    robot = build(priority=40)
    robot.arm()
    assert robot.powered
    robot.estop.wire.send(b"\x00")
    wait_until(lambda: events.named("safety.torque_off"))
    assert not robot.powered
    assert sorted(robot.cuts) == ["left", "right"]
    assert robot.supervisor.estop_state == "pressed"
    assert robot.supervisor.estop_requested
    assert robot.supervisor.category == 0
    assert robot.supervisor.reset() == ["the e-stop is pressed"]
    robot.estop.wire.send(b"\x01")
    wait_until(lambda: robot.supervisor.estop_state == "released")
    assert robot.supervisor.arm() == ["the e-stop is pressed; reset once the cause is gone"]
    assert robot.supervisor.reset() == []
    assert not robot.powered
    robot.arm()


def test_a_cut_wire_cuts_power_and_does_not_spin(
    build: Callable[..., Robot], wait_until: Any, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = build()
    robot.arm()
    robot.estop.wire.close()
    wait_until(lambda: events.named("safety.torque_off"))
    assert not robot.powered
    assert robot.supervisor.latched[0].startswith("the e-stop line is gone: ")
    rounds = 0
    step = robot.supervisor.step

    def count(*args: Any) -> None:
        nonlocal rounds
        rounds += 1
        step(*args)

    monkeypatch.setattr(robot.supervisor, "step", count)
    start = time.monotonic()
    wait_until(lambda: rounds >= 20)
    assert time.monotonic() - start > 0.05, "20 checks, 5 ms apart"


def test_a_blocked_loop_loses_power(build: Callable[..., Robot], wait_until: Any, events: Any) -> None:
    robot = build(stall_s=0.3)
    robot.arm()
    robot.loop.blocked = True
    wait_until(lambda: events.named("safety.torque_off"))
    assert not robot.powered
    assert "has not run for" in robot.supervisor.latched[0]
    assert sorted(robot.cuts) == ["left", "right"]
    assert events.named("safety.torque_off")[0]["beat_age_ms"] > 300


def test_a_torque_off_that_hangs_delays_neither_drive_enable_nor_the_others(
    build: Callable[..., Robot], wait_until: Any, events: Any
) -> None:
    let_go = threading.Event()
    seen: list[bool] = []

    def hang() -> None:
        seen.append(robot.drive.level)
        let_go.wait(10)

    robot = build(hang)
    try:
        robot.arm()
        robot.supervisor.request_stop(0, "test")
        wait_until(lambda: events.named("safety.torque_off"))
        assert seen == [False], "drive-enable was off before the first torque-off began"
        assert sorted(robot.cuts) == ["left", "right"]
        assert robot.supervisor.alive
        assert robot.supervisor.reset() == []
    finally:
        let_go.set()


def test_an_estop_line_that_comes_back_is_watched_again(
    build: Callable[..., Robot], wait_until: Any, events: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safety.recovery.RETRY_S", 0.05)
    robot = build()
    robot.arm()
    robot.estop.chip_is_gone = True
    robot.estop.wire.close()
    wait_until(lambda: "safety.line_lost" in events.names)
    assert not robot.powered
    assert "the e-stop line is gone" in robot.supervisor.reset()[0]
    robot.estop.chip_is_gone = False
    wait_until(lambda: robot.supervisor.estop_state == "released")
    assert robot.supervisor.reset() == []
    robot.arm()
    robot.estop.wire.send(b"\x00")
    wait_until(lambda: not robot.powered)
    assert robot.supervisor.latched == ["the e-stop is pressed"]


def test_the_contactor_s_feedback_is_given_back_as_well(build: Callable[..., Robot], line: Any) -> None:
    feedback = line()
    build(feedback=feedback, feedback_s=1.0).supervisor.stop()
    assert feedback.closed


def test_a_contactor_that_does_not_follow_drive_enable_stops_the_robot(
    build: Callable[..., Robot], wait_until: Any, line: Any
) -> None:
    robot = build(feedback=line(), feedback_s=0.02)
    robot.arm()
    assert not robot.supervisor.power_confirmed
    wait_until(lambda: robot.supervisor.latched)
    assert "contactor" in robot.supervisor.latched[0]
    assert not robot.powered


def test_an_estop_is_released_only_after_its_time(build: Callable[..., Robot], wait_until: Any) -> None:
    robot = build(release_s=600.0)
    robot.estop.wire.send(b"\x00")
    wait_until(lambda: robot.supervisor.estop_state == "pressed")
    robot.estop.wire.send(b"\x01")
    assert robot.supervisor.reset() == ["the e-stop is pressed"]


def test_what_watches_say_counts_and_a_joint_that_must_be_held_is_not_let_go(
    build: Callable[..., Robot], wait_until: Any
) -> None:
    flag = Flag("near", Action.SLOW, Clear.GONE, "somebody is near")

    class Near:
        def look(self, now_ns: int) -> list[Flag]:
            return [flag]

    robot = build(watches=[Near()], slow_speed=0.5, hold_after_stop=True, stop_timeout_s=60.0)
    robot.arm()
    wait_until(lambda: robot.supervisor.orders.last[:3] == (Action.SLOW, False, 0.5))
    assert robot.supervisor.flags == (flag,)
    assert robot.supervisor.reasons == ["somebody is near"]
    robot.supervisor.request_stop(1, "asked by an operator")
    wait_until(lambda: robot.supervisor.action == Action.HOLD)


def test_the_gate_closes_even_while_the_safety_thread_is_busy(build: Callable[..., Robot], busy: Any) -> None:
    robot = build()
    robot.arm()
    with busy(robot):
        robot.supervisor.disarm()
        assert not robot.gate.is_open
    assert robot.supervisor.disarm() == []
    robot.arm()
    with busy(robot):
        robot.supervisor.request_stop(0, "asked by an operator")
        assert not robot.gate.is_open
        assert robot.supervisor.estop_requested
    assert robot.supervisor.disarm() == []
    assert robot.supervisor.latched == ["emergency stop: asked by an operator"]
    assert robot.supervisor.reset() == []
    assert not robot.supervisor.estop_requested


def test_a_press_shorter_than_a_check_counts(
    build: Callable[..., Robot], busy: Any, wait_until: Any, events: Any
) -> None:
    robot = build()
    robot.arm()
    with busy(robot):
        robot.estop.wire.send(b"\x00")
        robot.estop.wire.send(b"\x01")
    wait_until(lambda: events.named("safety.torque_off"))
    assert not robot.powered
    assert robot.supervisor.estop_state == "released"


def test_an_estop_line_that_is_lost_is_watched_no_more(build: Callable[..., Robot]) -> None:
    robot = build(start=False)
    poll, supervisor = select.poll(), robot.supervisor
    robot.estop.wire.send(b"\x00")
    watched = supervisor._watch_estop(poll, -1)
    assert [fd for fd, _ in poll.poll(0)] == [watched] == [robot.estop.fileno()]
    supervisor._interlock.lose_estop("it is gone")
    assert supervisor._watch_estop(poll, watched) == -1
    assert poll.poll(0) == []


def test_disarm_is_no_stop(build: Callable[..., Robot]) -> None:
    robot = build()
    robot.arm()
    robot.loop.state = 0
    assert robot.supervisor.disarm() == []
    assert not robot.powered
    assert robot.gate.reason == "disarmed"
    assert robot.supervisor.latched == []
    assert robot.supervisor.category is None
    robot.arm()


def test_the_loop_learns_what_it_must_do(build: Callable[..., Robot], wait_until: Any) -> None:
    robot = build(stop_timeout_s=60.0)
    robot.arm()
    robot.supervisor.request_stop(2, "asked by an operator")
    wait_until(lambda: robot.supervisor.action == Action.HOLD)
    assert robot.supervisor.category == 2
    robot.loop.state = LoopState.ENERGISED | LoopState.HOLDING
    wait_until(lambda: robot.supervisor.action == Action.NONE)
    assert robot.powered
