"""Open the line that a config describes, real or emulated."""

from __future__ import annotations

from drivers.gpio.options import EmulatedLine, GpioLine
from drivers.line import InputLine, OutputLine


def open_input(options: GpioLine | EmulatedLine, consumer: str = "reflexd") -> InputLine:
    """Open an input with edge events. `consumer`: who holds it, as `gpioinfo` shows. Raises LineError."""
    if isinstance(options, GpioLine):
        from drivers.gpio.chip import ChipInput

        return ChipInput(options, consumer)
    from drivers.gpio.emulated import EmulatedInput

    return EmulatedInput(options)


def open_output(options: GpioLine | EmulatedLine, consumer: str = "reflexd") -> OutputLine:
    """Open an output, inactive at first. `consumer`: who holds it, as `gpioinfo` shows. Raises LineError."""
    if isinstance(options, GpioLine):
        from drivers.gpio.chip import ChipOutput

        return ChipOutput(options, consumer)
    from drivers.gpio.emulated import EmulatedOutput

    return EmulatedOutput(options)
