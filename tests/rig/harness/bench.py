"""The file that names a bench: real computers, real lines, and the word of the one who stands beside it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator

from drivers.joint import Options
from runtime.config.explain import validate
from runtime.config.paths import Place


def _promised(value: bool) -> bool:
    if not value:
        raise ValueError("found false; the scenarios move the robot and fail on purpose, so make it true")
    return value


Promise = Annotated[bool, AfterValidator(_promised)]


class Lines(Options):
    """The board's GPIO chip, and the offsets of its lines."""

    chip: str
    """Its device, for example `/dev/gpiochip0`."""
    estop: int
    """Output: closes the e-stop's first contact."""
    estop_second: int
    """Output: closes its second contact."""
    reset: int
    """Output: presses the reset button."""
    drive_enable: int
    """Input: the robot's line."""
    heartbeat: int
    """Input: the robot's line."""


class Bench(Options):
    """Two computers, as ssh finds them, and what is between them."""

    robot: str
    """As root: `root@robot.local`."""
    board: str
    """As root: `root@board.local`."""
    nobody_is_near: Promise
    """While the scenarios run."""
    torque_is_limited: Promise
    """By the power supply or in the motors, not by the software that is tried."""
    lines: Lines
    """Of the board."""
    ports: dict[str, str]
    """The board's ends of the robot's buses, by their names."""


def load(path: Path) -> Bench:
    """Read it. Raises UsageError for a mistake, and when it does not say that the robot can hurt nobody."""
    try:
        table = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise pytest.UsageError(f"{path}: {error}") from error
    problems: list[str] = []

    def report(place: Place, text: str) -> None:
        problems.append(f"{'.'.join(map(str, place))}: {text}")

    bench = validate(Bench, table, (), report)
    if bench is None:
        raise pytest.UsageError(f"{path}: the bench is not used: " + "\n".join(problems))
    return bench
