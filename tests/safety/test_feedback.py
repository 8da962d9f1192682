"""The contactor's feedback: it follows drive-enable within its time, both ways, or the robot is stopped."""

from __future__ import annotations

from typing import Any

import pytest

from safety.action import Action
from safety.beat import Heartbeat, LoopState
from safety.feedback import Feedback
from safety.gate import Gate
from safety.interlock import Interlock

MS = 1_000_000
WITHIN_MS = 100


class Contactor:
    """An interlock, its drive-enable, and a contactor that follows when the test says so."""

    def __init__(self, line: Any, events: Any) -> None:
        self.drive, self.contact, self.gate, self.events = line(), line(), Gate(), events
        self.heartbeat = Heartbeat()
        self.now = 1000 * MS
        self.interlock = Interlock(
            None,
            self.drive,
            list,
            self.gate,
            self.heartbeat,
            10.0,
            10.0,
            events,
            lambda: self.now,
            self.contact,
            WITHIN_MS / 1e3,
        )

    def after(self, ms: float, state: int = 0) -> Action:
        self.now += round(ms * MS)
        self.heartbeat.beat(0, self.now, state)
        return self.interlock.step(self.now).action

    def arm(self) -> list[str]:
        self.after(0)
        return self.interlock.arm(self.now)

    def armed(self) -> Contactor:
        assert self.arm() == []
        self.contact.level = True
        assert self.after(WITHIN_MS / 2) == Action.NONE
        assert self.gate.open()
        return self


@pytest.fixture
def robot(line: Any, events: Any) -> Contactor:
    return Contactor(line, events)


def test_a_contactor_that_follows_is_all_well(robot: Contactor) -> None:
    assert robot.arm() == []
    assert robot.interlock.drive_enabled
    assert not robot.interlock.power_confirmed, "driven, but not closed yet"
    robot.contact.level = True
    assert robot.after(WITHIN_MS) == Action.NONE
    assert robot.interlock.power_confirmed
    assert robot.after(10_000, LoopState.ENERGISED) == Action.NONE
    robot.interlock.disarm(robot.now)
    assert not robot.interlock.power_cut, "it has not dropped out yet"
    assert robot.arm() == ["the contactor has not dropped out yet; try again in a moment"]
    robot.contact.level = False
    assert robot.after(WITHIN_MS) == Action.NONE
    assert robot.interlock.power_cut
    robot.armed()


def test_a_contactor_that_does_not_close_is_a_fault_until_reset(robot: Contactor) -> None:
    assert robot.arm() == []
    assert robot.after(WITHIN_MS) == Action.NONE, "it still has time"
    assert robot.after(1) == Action.POWER_CUT
    assert not robot.drive.level
    [text] = robot.interlock.latched.values()
    assert text.startswith("the contactor has not closed: it is stuck")
    assert robot.after(WITHIN_MS) == Action.POWER_CUT, "latched, although the two agree again"
    assert robot.interlock.reset(robot.now) == []
    assert robot.after(1) == Action.NONE


def test_a_welded_contactor_is_a_fault_that_no_reset_clears_while_it_stands(robot: Contactor) -> None:
    robot.armed()
    robot.interlock.disarm(robot.now)
    assert robot.after(WITHIN_MS) == Action.NONE, "it still has time"
    assert robot.after(1) == Action.POWER_CUT
    [standing] = robot.interlock.reset(robot.now)
    assert standing.startswith("the contactor has not opened: it is welded")
    [refusal] = robot.arm()
    assert refusal.endswith("reset once the cause is gone")
    robot.contact.level = False
    robot.after(1)
    assert robot.interlock.reset(robot.now) == []
    robot.armed()


def test_a_contactor_that_drops_out_by_itself_stops_the_robot(robot: Contactor) -> None:
    robot.armed()
    robot.contact.level = False
    assert robot.after(1, LoopState.ENERGISED) == Action.NONE
    assert robot.after(WITHIN_MS + 1, LoopState.ENERGISED) == Action.POWER_CUT
    assert not robot.gate.is_open


def test_a_contact_that_bounces_is_none(robot: Contactor) -> None:
    assert robot.arm() == []
    for level in (True, False, True, False, True):
        robot.contact.level = level
        assert robot.after(WITHIN_MS / 10) == Action.NONE
    assert robot.after(10 * WITHIN_MS) == Action.NONE


def test_a_welded_contactor_is_found_before_the_first_arming(robot: Contactor) -> None:
    robot.contact.level = True
    robot.after(0)
    assert robot.after(WITHIN_MS + 1) == Action.POWER_CUT
    assert robot.arm()
    assert not robot.drive.history or not any(robot.drive.history)


def test_a_feedback_line_that_is_gone_stops_the_robot_and_comes_back(robot: Contactor) -> None:
    robot.armed()
    robot.contact.broken = True
    assert robot.after(1) == Action.POWER_CUT
    [text] = robot.interlock.latched.values()
    assert text == "the drive-enable feedback line is gone: the wire is cut"
    assert robot.interlock.reset(robot.now) == [text]
    robot.contact.broken = False
    robot.contact.level = False
    robot.after(1001)
    robot.after(1)
    assert "safety.line_back" in robot.events.names
    assert robot.interlock.reset(robot.now) == []
    robot.armed()


def test_a_robot_without_a_feedback_is_believed(line: Any, events: Any) -> None:
    feedback = Feedback(None, 0.1, events)
    for driven in (True, False):
        feedback.look(0, driven)
        feedback.look(10**12, driven)
        assert feedback.follows(driven)
    assert not feedback.problem


def test_the_time_begins_anew_when_drive_enable_changes(line: Any, events: Any) -> None:
    contact = line()
    feedback = Feedback(contact, WITHIN_MS / 1e3, events)
    feedback.look(0, True)
    contact.level = True
    feedback.look(90 * MS, False)
    feedback.look(180 * MS, False)
    assert not feedback.problem, "90 ms of 100"
    feedback.look(191 * MS, False)
    assert "welded" in feedback.problem


@pytest.mark.parametrize(
    ("driven", "told"),
    [(True, "has not closed: it is stuck, or its supply is off"), (False, "has not opened: it is welded")],
)
def test_what_is_told_names_the_time_that_it_has(line: Any, events: Any, driven: bool, told: str) -> None:
    feedback = Feedback(line(not driven), WITHIN_MS / 1e3, events)
    assert (feedback.problem, feedback.closed) == ("", False)
    feedback.look(0, driven)
    feedback.look(WITHIN_MS * MS, driven)
    assert feedback.problem == ""
    feedback.look(WITHIN_MS * MS + 1, driven)
    assert feedback.problem == f"the contactor {told} (its feedback has 0.1 s to follow drive-enable)"


def test_a_feedback_line_that_opens_but_cannot_be_read_stays_lost(line: Any, events: Any) -> None:
    class Unreadable(line):  # type: ignore[misc]
        def reopen(self) -> None:
            self.tries += 1

    contact = Unreadable()
    feedback = Feedback(contact, WITHIN_MS / 1e3, lambda *event: events(*event, {}))
    contact.broken = True
    feedback.look(0, False)
    feedback.step(0)
    assert events[0][1].startswith("the drive-enable feedback line is gone: the wire is cut;")
    feedback.step(1000 * MS)
    assert contact.tries == 1
    assert not feedback.follows(False)
    contact.broken = False
    feedback.step(2000 * MS)
    assert feedback.follows(False)
