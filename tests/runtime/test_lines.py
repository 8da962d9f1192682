"""All lines that are missing are told at once, and none is left open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.errors import LineError
from drivers.gpio.options import EmulatedLine
from runtime import lines
from runtime.config.models import Safety
from runtime.lines import open_lines
from safety.channels import TwoChannels

NAMES = ("estop", "estop_second", "reset", "drive_enable", "drive_feedback", "heartbeat")


class FakeLine:
    def __init__(self) -> None:
        self.closed = False

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, FakeLine]]:
    """Has the lines of these names missing; returns those that were opened, by name."""

    def prepare(*missing: str) -> dict[str, FakeLine]:
        found: dict[str, FakeLine] = {}

        def open_line(options: EmulatedLine, consumer: str) -> FakeLine:
            if options.line in missing:
                raise LineError(f"no line {options.line}")
            return found.setdefault(options.line, FakeLine())

        monkeypatch.setattr(lines, "open_input", open_line)
        monkeypatch.setattr(lines, "open_output", open_line)
        return found

    return prepare


def safety(*names: str) -> Safety:
    given: dict[str, Any] = {name: {"type": "emulated", "path": Path("gpio.sock"), "line": name} for name in names}
    return Safety.model_validate(given)


def test_every_missing_line_is_told_and_the_others_are_closed(opened: Any) -> None:
    found = opened("estop", "heartbeat")
    with pytest.raises(ExceptionGroup) as caught:
        open_lines(safety(*NAMES))
    assert [str(error) for error in caught.value.exceptions] == ["no line estop", "no line heartbeat"]
    assert sorted(found) == ["drive_enable", "drive_feedback", "estop_second", "reset"]
    assert all(line.closed for line in found.values())


def test_each_line_has_its_place(opened: Any) -> None:
    found = opened()
    had = open_lines(safety(*NAMES))
    assert isinstance(had.estop, TwoChannels)
    for name in ("reset", "drive_enable", "drive_feedback", "heartbeat"):
        assert getattr(had, name) is found[name]
    assert not any(line.closed for line in found.values())


def test_a_robot_needs_none_of_them(opened: Any) -> None:
    opened(*NAMES)
    had = open_lines(Safety())
    assert (had.estop, had.reset, had.drive_enable, had.drive_feedback, had.heartbeat) == (None,) * 5
