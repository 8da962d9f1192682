from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from safety.action import Action
from safety.beat import Heartbeat, LoopState
from safety.errors import SupervisorError
from safety.gate import Gate
from safety.scheduling import Scheduling
from safety.supervisor import Supervisor, next_check, next_period
from safety.watch import Clear, Flag

TICK_S = 0.002
STALL_S = 2.0  # generous: a busy machine must not look like a stalled loop


class Loop:
    """A control loop that does nothing but beat; `blocked` makes it hang."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.heartbeat = heartbeat
        self.state = 0
        self.blocked = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        heartbeat.beat(0, time.monotonic_ns(), 0)
        self._thread.start()

    def _run(self) -> None:
        tick = 0
        while not self._done.wait(0.005):
            tick += 1
            if not self.blocked:
                self.heartbeat.beat(tick, time.monotonic_ns(), self.state)

    def stop(self) -> None:
        self._done.set()
        self._thread.join()


@dataclass
class Robot:
    supervisor: Supervisor
    estop: Any
    drive: Any
    gate: Gate
    heartbeat: Heartbeat
    loop: Loop
    cuts: list[str]
    watchdog: Any

    @property
    def fed(self) -> list[float]:
        return list(self.watchdog.fed)

    def arm(self) -> None:
        assert self.supervisor.arm() == []
        assert self.gate.open()
        self.loop.state = LoopState.ENERGISED

    @property
    def powered(self) -> bool:
        return bool(self.drive.level or self.gate.is_open or self.supervisor.drive_enabled)


@pytest.fixture
def build(line: Any, wired_input: Any, fake_watchdog: Any, events: Any) -> Iterator[Callable[..., Robot]]:
    made: list[Robot] = []

    def make(*more: Callable[[], None], stall_s: float = STALL_S, start: bool = True, **options: Any) -> Robot:
        gate, heartbeat, estop, drive = Gate(), Heartbeat(), wired_input(), line()
        watchdog = fake_watchdog()
        cuts: list[str] = []
        supervisor = Supervisor(
            estop,
            drive,
            [*more, lambda: cuts.append("left"), lambda: cuts.append("right")],
            gate,
            heartbeat,
            stall_s,
            TICK_S,
            options.pop("priority", 0),
            events,
            watchdogs=[watchdog],
            **options,
        )
        if start:
            supervisor.start()
        made.append(Robot(supervisor, estop, drive, gate, heartbeat, Loop(heartbeat), cuts, watchdog))
        return made[-1]

    yield make
    for robot in made:
        robot.loop.stop()
        robot.supervisor.stop()
        assert not robot.supervisor.alive


@pytest.fixture
def busy() -> Callable[[Robot], AbstractContextManager[None]]:
    """The safety thread does something else while the block runs."""

    @contextmanager
    def keep_busy(robot: Robot) -> Iterator[None]:
        inside, let_go = threading.Event(), threading.Event()

        def wait(now_ns: int) -> list[str]:
            inside.set()
            let_go.wait(10)
            return []

        robot.supervisor._post(wait)
        assert inside.wait(10)
        try:
            yield
        finally:
            let_go.set()

    return keep_busy


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


def test_a_timer_that_fails_does_not_end_the_checks(
    build: Callable[..., Robot], wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("safety.supervisor.timerfd.set_timer", lambda fd, due_ns: None)
    robot = build()
    wait_until(lambda: len(robot.fed) > 5)


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


def test_watchdogs_and_the_heartbeat_line_do_not_wait_for_the_next_check(
    build: Callable[..., Robot], wait_until: Any, line: Any
) -> None:
    pulse = line()
    robot = build(stall_s=240.0, heartbeat_line=pulse, heartbeat_period_s=0.02)
    wait_until(lambda: len(robot.fed) >= 5)
    wait_until(lambda: len(pulse.history) >= 10)
    assert pulse.history[:4] == [True, False, True, False]
    robot.supervisor.stop()
    assert pulse.closed
    assert not pulse.level


def test_a_blocked_loop_is_fed_for_no_more_and_its_heartbeat_rests(
    build: Callable[..., Robot], wait_until: Any, line: Any
) -> None:
    pulse = line()
    robot = build(stall_s=0.3, heartbeat_line=pulse, heartbeat_period_s=0.02)
    wait_until(lambda: len(robot.fed) > 2 and len(pulse.history) > 2)
    robot.loop.blocked = True
    wait_until(lambda: robot.supervisor.action == Action.WARN)
    fed, edges = len(robot.fed), len(pulse.history)
    assert not pulse.level
    threading.Event().wait(0.1)
    assert (len(robot.fed), len(pulse.history)) == (fed, edges)
    robot.loop.blocked = False
    wait_until(lambda: len(robot.fed) > fed and len(pulse.history) > edges)


def test_a_drive_enable_that_is_lost_lets_the_heartbeat_rest_until_reset(
    build: Callable[..., Robot], wait_until: Any, line: Any
) -> None:
    pulse = line()
    robot = build(heartbeat_line=pulse, heartbeat_period_s=0.02)
    robot.arm()
    wait_until(lambda: len(pulse.history) > 2)
    robot.drive.broken = True
    wait_until(lambda: robot.supervisor.action == Action.POWER_CUT and not pulse.level)
    edges, fed = len(pulse.history), len(robot.fed)
    wait_until(lambda: len(robot.fed) > fed + 5)
    assert len(pulse.history) == edges
    robot.drive.broken = False
    wait_until(lambda: robot.supervisor.reset() == [])
    wait_until(lambda: len(pulse.history) > edges)


def test_a_heartbeat_line_that_fails_stops_the_robot(
    build: Callable[..., Robot], wait_until: Any, line: Any, events: Any
) -> None:
    pulse = line()
    robot = build(heartbeat_line=pulse, heartbeat_period_s=0.02)
    robot.arm()
    pulse.broken = True
    wait_until(lambda: events.named("safety.torque_off"))
    assert not robot.powered
    assert robot.supervisor.latched == ["the heartbeat line cannot be driven: the wire is cut"]
    assert robot.supervisor.reset() == robot.supervisor.latched


def test_a_watchdog_that_cannot_be_fed_stops_the_robot(
    build: Callable[..., Robot], wait_until: Any, events: Any
) -> None:
    robot = build()
    robot.arm()
    robot.watchdog.failure = OSError(5, "Input/output error")
    wait_until(lambda: events.named("safety.torque_off"))
    assert not robot.powered
    assert robot.supervisor.latched == ["a watchdog cannot be fed: Input/output error"]
    robot.watchdog.failure = None
    wait_until(lambda: not robot.supervisor.reset())


def test_a_watchdog_that_cannot_be_armed_keeps_the_supervisor_from_starting(
    build: Callable[..., Robot], events: Any
) -> None:
    robot = build(start=False)
    robot.watchdog.refusal = "no such device"
    with pytest.raises(SupervisorError, match="no such device"):
        robot.supervisor.start()
    assert robot.supervisor.arm() == ["no such device"]
    assert "safety.thread_died" not in events.names
    assert robot.watchdog.calls == ["open", "disarm"]


def test_only_a_clean_stop_disarms_the_watchdog(
    build: Callable[..., Robot], wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean, other, dead = build(), build(), build()
    clean.supervisor.stop(clean=True)
    assert clean.watchdog.calls == ["open", "disarm"]
    other.supervisor.stop()
    assert other.watchdog.calls == ["open", "leave"]

    def fail(*args: object) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(dead.supervisor._interlock, "step", fail)
    wait_until(lambda: not dead.supervisor.alive)
    dead.supervisor.stop(clean=True)
    assert dead.watchdog.calls == ["open", "leave"]


def test_a_thread_that_dies_while_it_is_stopped_leaves_the_watchdog_armed(build: Callable[..., Robot]) -> None:
    robot = build()

    def fail_at_the_end(now_ns: int) -> list[str]:
        while not robot.supervisor._stopping:
            threading.Event().wait(0.001)
        raise ZeroDivisionError("a mistake")

    robot.supervisor._post(fail_at_the_end)
    robot.supervisor.stop(clean=True)
    assert robot.watchdog.calls == ["open", "leave"]


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


def test_edges_and_requests_wake_it_without_waiting_for_the_next_check(
    build: Callable[..., Robot], wait_until: Any, events: Any
) -> None:
    robot = build(stall_s=240.0)
    robot.arm()
    robot.estop.wire.send(b"\x00")
    wait_until(lambda: events.named("safety.torque_off"))
    assert not robot.powered


def test_an_estop_line_that_is_lost_is_watched_no_more(build: Callable[..., Robot]) -> None:
    robot = build(start=False)
    poll, supervisor = select.poll(), robot.supervisor
    robot.estop.wire.send(b"\x00")
    watched = supervisor._watch_estop(poll, -1)
    assert [fd for fd, _ in poll.poll(0)] == [watched] == [robot.estop.fileno()]
    supervisor._interlock.lose_estop("it is gone")
    assert supervisor._watch_estop(poll, watched) == -1
    assert poll.poll(0) == []


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
