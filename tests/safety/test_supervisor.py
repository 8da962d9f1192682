"""The supervisor's thread: its start, its checks, what wakes it, its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from safety.action import Action
from safety.errors import SupervisorError
from safety.scheduling import Scheduling
from safety.supervisor import next_check, next_period
from tests.supervisor_bench import Robot


def test_a_timer_that_fails_does_not_end_the_checks(
    build: Callable[..., Robot], wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safety.supervisor.timerfd.set_timer", lambda fd, due_ns: None)
    robot = build()
    wait_until(lambda: len(robot.fed) > 5)


def test_the_death_of_the_safety_thread_leaves_everything_off(
    build: Callable[..., Robot], wait_until: Any, monkeypatch: pytest.MonkeyPatch, events: Any
) -> None:
    robot = build()
    robot.arm()
    wait_until(lambda: len(robot.fed) > 2)

    def fail(*args: object) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(robot.supervisor._interlock, "step", fail)
    wait_until(lambda: not robot.supervisor.alive)
    assert not robot.powered
    assert robot.drive.history[-1] is False
    assert robot.drive.closed
    assert robot.estop.closed
    assert sorted(robot.cuts) == ["left", "right"]
    assert "ZeroDivisionError: a mistake" in robot.gate.reason
    [died] = events.named("safety.thread_died")
    assert (died["category"], died["armed"], died["loop"]) == (0, True, "energised")
    assert 0 <= died["reaction_us"] < 10e6, "a difference of times, in microseconds"
    assert {level for name, _, level, _ in events if name == "safety.thread_died"} == {"error"}
    assert robot.supervisor.orders.last[:3] == (Action.TORQUE_OFF, True, 1.0)
    assert (robot.supervisor._wake_fd, robot.supervisor._timer_fd) == (-1, -1), "closed numbers are others' now"
    fed = len(robot.fed)
    assert "the safety thread has died" in robot.supervisor.arm()[0]
    assert not robot.gate.open()
    assert robot.supervisor.action == Action.TORQUE_OFF
    assert len(robot.supervisor.latched) == 1
    assert len(robot.fed) == fed


def test_stop_leaves_everything_off_and_closes_the_lines(build: Callable[..., Robot], events: Any) -> None:
    robot = build()
    robot.arm()
    robot.supervisor.stop()
    assert not robot.powered
    assert robot.gate.reason == "the safety task was stopped"
    assert sorted(robot.cuts) == ["left", "right"]
    assert robot.drive.closed
    assert robot.estop.closed
    assert "safety.thread_died" not in events.names
    assert robot.supervisor.arm() == ["the safety thread is not running"]
    robot.supervisor.request_stop(0, "too late")
    robot.supervisor.stop()


def test_before_its_start_nothing_runs_and_nothing_is_asked_for(build: Callable[..., Robot]) -> None:
    supervisor = build(start=False).supervisor
    assert supervisor.scheduling == Scheduling(False, "the safety thread was not started")
    assert not supervisor.alive
    assert not supervisor.estop_requested


def test_a_thread_that_cannot_be_started_is_an_error(
    build: Callable[..., Robot], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(24, "Too many open files")

    robot = build(start=False)
    monkeypatch.setattr("safety.supervisor.os.eventfd", refuse)
    with pytest.raises(SupervisorError, match=r"^the safety thread could not be started: .*Too many open files$"):
        robot.supervisor.start()


def test_a_thread_that_hangs_at_its_start_is_an_error(
    build: Callable[..., Robot], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    robot = build(start=False)
    monkeypatch.setattr("safety.supervisor.START_TIMEOUT_S", 0.05)
    monkeypatch.setattr(robot.watchdog, "open", lambda: (let_go.wait(60) and "it is armed", "info"))
    try:
        with pytest.raises(SupervisorError, match=r"^the safety thread did not run within 0\.05 s$"):
            robot.supervisor.start()
    finally:
        let_go.set()


def test_what_wakes_its_thread_never_blocks_and_is_not_inherited(build: Callable[..., Robot]) -> None:
    wake_fd = build().supervisor._wake_fd
    assert not os.get_blocking(wake_fd)
    assert not os.get_inheritable(wake_fd)


@pytest.mark.parametrize(("achieved", "level"), [(True, "info"), (False, "warning")])
def test_its_start_is_told_with_its_scheduling(
    build: Callable[..., Robot],
    wait_until: Any,
    events: Any,
    monkeypatch: pytest.MonkeyPatch,
    achieved: bool,
    level: str,
) -> None:
    found = Scheduling(achieved, "as it was found")
    monkeypatch.setattr("safety.supervisor.run_as_fifo", lambda priority: found)
    supervisor = build().supervisor
    wait_until(lambda: events)
    assert [event[:3] for event in events if event[0] == "safety.started"] == [
        ("safety.started", "safety thread: as it was found", level)
    ]
    assert supervisor.scheduling is found


def test_its_thread_has_a_name_and_keeps_no_process_alive(build: Callable[..., Robot]) -> None:
    before = {thread for thread in threading.enumerate() if thread.name == "safety"}
    build()
    [thread] = {thread for thread in threading.enumerate() if thread.name == "safety"} - before
    assert thread.daemon


def test_checks_are_four_within_a_stall_and_between_the_loop_s_ticks(
    build: Callable[..., Robot], wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int, int]] = []

    def note(due_ns: int, beat_ns: int, tick_ns: int, stall_ns: int, now_ns: int) -> int:
        asked.append((due_ns, tick_ns, stall_ns))
        return next_check(due_ns, beat_ns, tick_ns, stall_ns, now_ns)

    monkeypatch.setattr("safety.supervisor.next_check", note)
    supervisor = build(stall_s=0.4).supervisor
    wait_until(lambda: len({due_ns for due_ns, *_ in asked}) > 2)
    assert supervisor._period_ns == 100_000_000
    assert {(tick_ns, stall_ns) for _, tick_ns, stall_ns in asked} == {(2_000_000, 400_000_000)}
    first, *others = sorted({due_ns for due_ns, *_ in asked})
    assert {(due_ns - first) % 100_000_000 for due_ns in others} == {0}


def test_lines_are_closed_even_if_it_never_ran(build: Callable[..., Robot]) -> None:
    robot = build(start=False)
    assert robot.supervisor.arm() == ["the safety thread is not running"]
    robot.supervisor.stop()
    assert robot.drive.closed
    assert robot.estop.closed


def test_a_request_that_came_too_late_is_never_done(build: Callable[..., Robot], busy: Any) -> None:
    robot = build()
    with busy(robot):
        assert robot.supervisor.arm() == ["the safety thread has not answered within 0.5 s"]
    assert robot.supervisor.disarm() == []
    assert True not in robot.drive.history
    assert not robot.gate.open()


def test_a_request_that_waits_while_the_thread_dies_is_told_why(
    build: Callable[..., Robot], wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safety.supervisor.CALL_TIMEOUT_S", 60.0)
    robot, answers, let_go = build(), [], threading.Event()

    def die(now_ns: int) -> list[str]:
        let_go.wait(60)
        raise ZeroDivisionError("a mistake")

    robot.supervisor._post(die)
    asker = threading.Thread(target=lambda: answers.append(robot.supervisor.arm()))
    asker.start()
    wait_until(lambda: robot.supervisor._requests)
    let_go.set()
    asker.join()
    assert "ZeroDivisionError: a mistake" in answers[0][0]


def test_a_thread_that_does_not_end_is_not_waited_for(
    build: Callable[..., Robot], busy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot = build()
    robot.arm()
    monkeypatch.setattr("safety.supervisor.CALL_TIMEOUT_S", 0.05)
    with busy(robot):
        robot.supervisor.stop()
        assert robot.gate.reason == "the safety thread does not end"
        assert not robot.powered


def test_edges_and_requests_wake_it_without_waiting_for_the_next_check(
    build: Callable[..., Robot], wait_until: Any, events: Any
) -> None:
    robot = build(stall_s=240.0)
    robot.arm()
    robot.estop.wire.send(b"\x00")
    wait_until(lambda: events.named("safety.torque_off"))
    assert not robot.powered


@pytest.mark.parametrize(
    ("now_ns", "next_ns"), [(999, 1000), (1000, 1100), (1099, 1100), (1100, 1200), (1350, 1400), (901, 1000)]
)
def test_the_next_check_is_due_a_period_on_whatever_was_missed(now_ns: int, next_ns: int) -> None:
    assert next_period(1000, 100, now_ns) == next_ns


def test_it_reports_its_scheduling(build: Callable[..., Robot], wait_until: Any, events: Any) -> None:
    robot = build(priority=40)
    wait_until(lambda: "safety.started" in events.names)
    assert "SCHED_FIFO 40" in robot.supervisor.scheduling.detail


@pytest.mark.parametrize("late_ns", [0, 1, 700, 1_499_999, 1_500_000, 1_500_001, 2_000_000, 98_765_432])
def test_a_check_never_falls_on_the_start_of_a_tick(late_ns: int) -> None:
    beat_ns, tick_ns = 1_000_000_000, 2_000_000
    moment_ns = next_check(beat_ns + late_ns, beat_ns, tick_ns, 10**9, beat_ns)
    assert beat_ns + late_ns <= moment_ns < beat_ns + late_ns + max(tick_ns, 1_500_001)
    assert (moment_ns - beat_ns) % tick_ns == 1_500_000


def test_a_stall_is_checked_at_its_own_moment() -> None:
    beat_ns, tick_ns, stall_ns = 1_000_000_000, 20_000_000, 400_000_000
    due_ns = beat_ns + 437_000_000
    assert next_check(due_ns, beat_ns, tick_ns, stall_ns, beat_ns) == beat_ns + stall_ns + 1
    assert next_check(due_ns, beat_ns, tick_ns, stall_ns, beat_ns + stall_ns + 1) >= due_ns, "once, not for ever"
