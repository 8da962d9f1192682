"""The e-stop's line by itself: what it is before it was read, and after it was lost."""

from __future__ import annotations

from typing import Any

import pytest

from safety.estop import Estop

MS = 1_000_000
RELEASE_MS = 50


@pytest.fixture
def tell(events: Any) -> Any:
    return lambda name, message, level: events(name, message, level, {})


def test_it_counts_as_pressed_before_it_was_ever_read(line: Any, tell: Any) -> None:
    estop = Estop(line(True), 0.0, tell)
    assert estop.state == "pressed"
    assert estop.pulse is False
    assert estop.problem == ""
    assert estop.channels_problem == ""


def test_at_the_start_it_counts_as_it_is(line: Any, tell: Any) -> None:
    released, pressed = (Estop(line(level), RELEASE_MS / 1e3, tell) for level in (True, False))
    assert released.read(0, edge=False) is True
    assert released.state == "released"
    assert pressed.read(0, edge=False) is False
    assert pressed.state == "pressed"


def test_a_robot_without_one_has_nothing_to_read_or_lose(tell: Any) -> None:
    estop = Estop(None, 0.0, tell)
    assert estop.state == "none"
    assert estop.read(0, edge=True) is False
    assert (estop.state, estop.pulse) == ("none", False)


def test_a_line_that_was_lost_reads_as_pressed_and_its_release_has_to_last(
    line: Any, events: Any, tell: Any
) -> None:
    contact = line(True)
    estop = Estop(contact, RELEASE_MS / 1e3, tell)
    estop.read(0, edge=False)
    estop.lose("its descriptor reports an error")
    assert estop.state == "pressed"
    assert estop.read(1 * MS, edge=True) is False, "nothing is read from a line that is gone"
    estop.step(1 * MS)
    estop.step(1001 * MS)
    assert events.names == ["safety.line_lost", "safety.line_back"]
    assert estop.read(1002 * MS, edge=False) is False
    assert estop.read((1002 + RELEASE_MS) * MS - 1, edge=False) is False
    assert estop.state == "pressed"
    assert estop.read((1002 + RELEASE_MS) * MS, edge=False) is True
    assert estop.state == "released"


def test_a_line_that_opens_but_cannot_be_read_stays_lost(line: Any, events: Any, tell: Any) -> None:
    class Unreadable(line):  # type: ignore[misc]
        def reopen(self) -> None:
            self.tries += 1

    contact = Unreadable(True)
    estop = Estop(contact, 0.0, tell)
    contact.broken = True
    assert estop.read(0, edge=False) is False
    estop.step(0)
    assert events[0][1].startswith("the e-stop line is gone: the wire is cut;")
    estop.step(1000 * MS)
    assert contact.tries == 1
    assert estop.problem == "the wire is cut"
    contact.broken = False
    estop.step(2000 * MS)
    assert estop.problem == ""


def test_a_press_between_two_readings_is_told_once(line: Any, tell: Any) -> None:
    estop = Estop(line(True), 0.0, tell)
    estop.read(0, edge=False)
    assert estop.read(1, edge=True) is False, "it has not been released: it is"
    assert estop.pulse is True
    estop.read(2, edge=False)
    assert estop.pulse is False
