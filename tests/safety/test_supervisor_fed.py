"""Who hears from the safety thread: the machine's watchdog and the heartbeat line."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from safety.action import Action
from safety.errors import SupervisorError
from tests.supervisor_bench import Robot


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
