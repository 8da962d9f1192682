"""GPIO lines in a config; `drivers.gpio.lines` opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from drivers.joint import Options


class GpioLine(Options):
    """A line of a GPIO chip of this computer (Linux GPIO character device)."""

    type: Literal["gpio"]
    """A real line."""
    chip: str
    """The chip's device, for example `/dev/gpiochip0`; `gpioinfo` lists chips and lines."""
    line: int | str
    """The line's offset on the chip, or its name."""
    active_low: bool = False
    """True when the line is active at low voltage."""
    bias: Literal["pull_up", "pull_down", "disabled"] | None = None
    """Internal bias of the line; without one it stays as the board has set it."""


class EmulatedLine(Options):
    """A line of an emulated robot."""

    type: Literal["emulated"]
    """An emulated line."""
    path: Path
    """Socket of the emulated chip."""
    line: str
    """Name of the line, for example `estop` or `drive_enable`."""


LineOptions = Annotated[GpioLine | EmulatedLine, Field(discriminator="type")]
