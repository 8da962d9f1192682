"""A line that is lost: closed at once, tried again once a second, told of once."""

from __future__ import annotations

from typing import Any

import pytest

from safety.recovery import RETRY_S, Recovery

SECOND = 1_000_000_000


@pytest.fixture
def tell(events: Any) -> Any:
    return lambda name, message, level: events(name, message, level, {})


def test_a_line_that_is_lost_is_closed_and_had_again(line: Any, events: Any, tell: Any) -> None:
    wire, proofs = line(), []
    recovery = Recovery("the test's line", wire, lambda: proofs.append(wire.tries), tell)
    recovery.step(0)
    assert not wire.closed
    recovery.lose(OSError(19, "No such device"))
    recovery.lose("the second thing that went wrong with it")
    assert recovery.problem == "[Errno 19] No such device", "the first one is the reason"
    assert not wire.closed, "nothing is done before `step`"

    recovery.step(0)
    assert wire.closed
    recovery.step(round(RETRY_S * SECOND) - 1)
    assert wire.tries == 0
    wire.broken = True
    recovery.step(round(RETRY_S * SECOND))
    assert wire.tries == 1
    assert recovery.problem == "there is no such chip"
    wire.broken = False
    recovery.step(2 * round(RETRY_S * SECOND) - 1)
    assert wire.tries == 1
    recovery.step(2 * round(RETRY_S * SECOND))
    assert recovery.problem == ""
    assert proofs == [2], "it was used once, after it was open again"
    assert [(name, message, level) for name, message, level, _ in events] == [
        (
            "safety.line_lost",
            "the test's line is gone: [Errno 19] No such device; it is tried again every 1 s",
            "error",
        ),
        ("safety.line_back", "the test's line is there again; a reset is possible now", "info"),
    ]

    recovery.lose("again")
    recovery.step(5 * SECOND)
    assert wire.closed, "the next loss is like the first"
    assert events.names[-1] == "safety.line_lost"


@pytest.mark.parametrize("error", [ValueError(), OSError()])
def test_a_line_that_opens_but_is_no_good_stays_lost(line: Any, tell: Any, error: Exception) -> None:
    def prove() -> None:
        raise error

    wire = line()
    recovery = Recovery("the test's line", wire, prove, tell)
    recovery.lose(error)
    assert recovery.problem == type(error).__name__, "an error without words has a name"
    recovery.step(0)
    recovery.step(SECOND)
    assert recovery.problem == type(error).__name__
    assert wire.closed


def test_what_is_not_there_is_never_lost(events: Any, tell: Any) -> None:
    recovery = Recovery("the test's line", None, list, tell)
    recovery.lose("gone")
    recovery.step(0)
    assert recovery.problem == ""
    assert events == []


def test_a_line_that_cannot_even_be_closed_is_tried_again(line: Any, events: Any, tell: Any) -> None:
    class Stubborn(line):  # type: ignore[misc]
        def close(self) -> None:
            raise OSError("it does not close")

    wire = Stubborn()
    recovery = Recovery("the test's line", wire, list, tell)
    recovery.lose("gone")
    recovery.step(0)
    recovery.step(SECOND)
    assert events.names == ["safety.line_lost", "safety.line_back"]
