"""An e-stop with two channels, and one that bounces."""

from __future__ import annotations

import select
from typing import Any

import pytest

from drivers.errors import LineError
from safety.action import Action
from safety.beat import Heartbeat
from safety.channels import TwoChannels
from safety.decide import Cause
from safety.gate import Gate
from safety.interlock import Interlock

MS = 1_000_000
DISCREPANCY_MS, RELEASE_MS = 500, 50


class Button:
    """An interlock with an e-stop of two contacts; time in the test's hand."""

    def __init__(self, line: Any, events: Any) -> None:
        self.first, self.second, self.drive = line(True), line(True), line()
        self.events, self.heartbeat, self.now = events, Heartbeat(), 1000 * MS
        self.interlock = Interlock(
            TwoChannels(self.first, self.second, DISCREPANCY_MS / 1e3),
            self.drive,
            list,
            Gate(),
            self.heartbeat,
            10.0,
            10.0,
            events,
            lambda: self.now,
            release_s=RELEASE_MS / 1e3,
        )
        self.after(0)
        self.after(RELEASE_MS)

    def after(self, ms: float, edge: bool = False) -> Action:
        self.now += round(ms * MS)
        self.heartbeat.beat(0, self.now, 0)
        return self.interlock.step(self.now, edge).action

    def armed(self) -> Button:
        assert self.interlock.arm(self.now) == []
        return self

    def put(self, first: bool, second: bool) -> None:
        self.first.level, self.second.level = first, second

    def reset(self) -> list[str]:
        return self.interlock.reset(self.now)


@pytest.fixture
def button(line: Any, events: Any) -> Button:
    return Button(line, events)


@pytest.mark.parametrize("levels", [(False, False), (True, False), (False, True)])
def test_one_open_channel_is_a_press(button: Button, levels: tuple[bool, bool]) -> None:
    button.armed().put(*levels)
    assert button.after(1, edge=True) == Action.TORQUE_OFF
    assert not button.drive.level
    assert button.interlock.estop_state == "pressed"


def test_channels_that_open_one_after_the_other_are_no_fault(button: Button) -> None:
    button.armed().put(False, True)
    button.after(1)
    button.after(DISCREPANCY_MS)
    button.put(False, False)
    button.after(1)
    button.put(True, True)
    button.after(1)
    button.after(RELEASE_MS)
    assert list(button.interlock.latched) == [Cause.ESTOP]
    assert button.reset() == []
    button.armed()


@pytest.mark.parametrize("levels", [(True, False), (False, True)])
def test_channels_that_differ_are_a_fault_until_both_were_open(button: Button, levels: tuple[bool, bool]) -> None:
    button.armed().put(*levels)
    button.after(1)
    button.after(DISCREPANCY_MS + 1)
    assert set(button.interlock.latched) == {Cause.ESTOP, Cause.ESTOP_CHANNELS}
    closed = "the first is closed and the second open" if levels[0] else "the second is closed and the first open"
    assert closed in button.interlock.latched[Cause.ESTOP_CHANNELS]

    button.put(True, True)
    button.after(1)
    button.after(RELEASE_MS)
    [standing] = button.reset()
    assert "press and release it" in standing, "a release alone shows nothing about the channel that stayed closed"

    button.put(False, False)
    button.after(1)
    button.put(True, True)
    button.after(1)
    button.after(RELEASE_MS)
    assert button.reset() == []
    button.armed()


def test_a_bouncing_contact_delays_the_release_and_never_the_press(button: Button) -> None:
    button.armed().put(False, False)
    assert button.after(0, edge=True) == Action.TORQUE_OFF, "a press counts at once"
    for _ in range(5):
        button.put(True, True)
        button.after(RELEASE_MS - 1, edge=True)
        assert button.interlock.estop_state == "pressed"
        button.put(False, False)
        button.after(1, edge=True)
    button.put(True, True)
    button.after(1, edge=True)
    button.after(RELEASE_MS - 1)
    assert button.interlock.estop_state == "pressed"
    button.after(1)
    assert button.interlock.estop_state == "released"


def test_an_edge_between_two_closed_reads_begins_the_time_of_the_release_anew(button: Button) -> None:
    button.armed().put(False, False)
    button.after(1, edge=True)
    button.put(True, True)
    button.after(1, edge=True)
    button.after(RELEASE_MS - 1, edge=True)
    button.after(RELEASE_MS - 1)
    assert button.interlock.estop_state == "pressed"
    button.after(1)
    assert button.interlock.estop_state == "released"


def test_channels_that_differ_from_the_start_are_a_fault_after_their_time_and_none_once_both_were_open(
    line: Any,
) -> None:
    first, second = line(True), line(False)
    both = TwoChannels(first, second, DISCREPANCY_MS / 1e3)
    assert not both.read()
    both.judge(0)
    both.judge(DISCREPANCY_MS * MS)
    assert both.problem == "", "it is no more than allowed"
    both.judge(DISCREPANCY_MS * MS + 1)
    assert "open for more than 0.5 s;" in both.problem
    first.level = False
    both.read()
    both.judge(DISCREPANCY_MS * MS + 2)
    assert both.problem == ""


@pytest.mark.parametrize("which", ["first", "second"])
def test_a_channel_that_is_gone_is_a_press_and_comes_back(button: Button, which: str) -> None:
    line = getattr(button.armed(), which)
    line.broken = True
    assert button.after(1) == Action.TORQUE_OFF
    assert button.interlock.estop_lost
    assert button.first.closed
    assert button.second.closed
    line.broken = False
    button.after(1001)
    button.after(1)
    button.after(RELEASE_MS)
    assert not button.interlock.estop_lost
    assert button.reset() == []
    button.armed()


@pytest.mark.parametrize("which", [0, 1])
def test_an_edge_of_either_wakes_who_waits(wired_input: Any, which: int) -> None:
    lines = wired_input(), wired_input()
    both = TwoChannels(*lines, 0.5)
    poll = select.poll()
    poll.register(both.fileno(), select.POLLIN)
    assert not poll.poll(0)
    lines[which].wire.send(b"\0")
    assert poll.poll(1000)
    assert both.read() is False
    assert not poll.poll(0)
    lines[which].wire.close()
    assert poll.poll(1000), "also when one of them is gone"
    with pytest.raises(LineError):
        both.read()
    poll.unregister(both.fileno())
    both.close()
    assert both.fileno() == -1
    both.reopen()
    assert both.fileno() >= 0
    both.close()
