"""The GPIO lines of the safety task, opened together: whoever looks for one learns of all that are missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from drivers.errors import LineError
from drivers.gpio.lines import open_input, open_output
from drivers.gpio.options import EmulatedLine, GpioLine
from drivers.line import InputLine, OutputLine
from runtime.config.models import Safety
from safety.channels import TwoChannels

_L = TypeVar("_L", InputLine, OutputLine)


@dataclass(frozen=True, slots=True)
class Lines:
    """Those that the config has."""

    estop: InputLine | None
    reset: InputLine | None
    drive_enable: OutputLine | None
    drive_feedback: InputLine | None
    heartbeat: OutputLine | None


def open_lines(safety: Safety) -> Lines:
    """Open all. When any is missing none stays open, and an ExceptionGroup with a LineError for each is raised."""
    opened: list[InputLine | OutputLine] = []
    missing: list[LineError] = []

    def attempt(
        open_line: Callable[[GpioLine | EmulatedLine, str], _L], options: GpioLine | EmulatedLine | None
    ) -> _L | None:
        if options is None:
            return None
        try:
            line = open_line(options, "reflexd")
        except LineError as error:
            missing.append(error)
            return None
        opened.append(line)
        return line

    estop, second = attempt(open_input, safety.estop), attempt(open_input, safety.estop_second)
    reset = attempt(open_input, safety.reset)
    drive_enable = attempt(open_output, safety.drive_enable)
    drive_feedback = attempt(open_input, safety.drive_feedback)
    heartbeat = attempt(open_output, safety.heartbeat)
    if missing:
        for line in opened:
            line.close()
        raise ExceptionGroup("GPIO lines of the config are not there", missing)
    if estop is not None and second is not None:
        estop = TwoChannels(estop, second, safety.estop_discrepancy)
    return Lines(estop, reset, drive_enable, drive_feedback, heartbeat)
