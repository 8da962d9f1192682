"""Lines of a real GPIO chip through libgpiod 2 (the Linux GPIO character device, kernel 5.10 and later).

The kernel gives a line back when its descriptor closes, by whatever cause. Most chips then leave an output as
it was, so a drive-enable circuit must also fall off by itself, by a pull-down and a watchdog.
"""

from __future__ import annotations

import contextlib
import errno
import select

import gpiod
from gpiod.line import Bias, Direction, Edge, Value

from drivers.errors import LineError
from drivers.gpio.options import GpioLine

_BIAS = {
    None: Bias.AS_IS,
    "pull_up": Bias.PULL_UP,
    "pull_down": Bias.PULL_DOWN,
    "disabled": Bias.DISABLED,
}
_ADVICE = {
    errno.ENOENT: "no such chip or line; `gpioinfo` lists both",
    errno.EACCES: "add the user to the group that owns the chip, usually `gpio`, or add a udev rule",
    errno.EPERM: "add the user to the group that owns the chip, usually `gpio`, or add a udev rule",
    errno.EBUSY: "another program or a kernel driver holds the line; `gpioinfo` shows which",
    errno.EINVAL: "the chip does not offer what was asked; check the line's number and the bias",
    errno.ENODEV: "the chip is gone; check its driver and its plug",
}
_FAILURES = (OSError, ValueError, gpiod.RequestReleasedError, gpiod.ChipClosedError)
_READS_AT_ONCE = 16  # a line that chatters must not hold its reader
_GONE = select.POLLERR | select.POLLHUP | select.POLLNVAL


class ChipInput:
    """An input line with edge events."""

    def __init__(self, options: GpioLine, consumer: str) -> None:
        """Request the line. Raises LineError."""
        self._options = options
        self._consumer = consumer
        self._settings = gpiod.LineSettings(
            direction=Direction.INPUT,
            edge_detection=Edge.BOTH,
            active_low=options.active_low,
            bias=_BIAS[options.bias],
        )
        self.reopen()

    def fileno(self) -> int:
        """Descriptor that becomes readable at an edge, and when the chip is gone."""
        return self._fd

    def reopen(self) -> None:
        """Request the line, again after `close`. Raises LineError."""
        self._request = _request(self._options, self._settings, self._consumer)
        self._fd: int = self._request.fd
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def read(self) -> bool:
        """Level now, after dropping the edges that led to it. Raises LineError when the line is gone."""
        try:
            # Edges first: one that comes after them is told by the level or by the descriptor, never lost.
            for _ in range(_READS_AT_ONCE):
                ready = self._poll.poll(0)
                if not ready:
                    break
                if ready[0][1] & _GONE:
                    raise OSError(errno.ENODEV, "the chip was removed")
                self._request.read_edge_events()
            return bool(self._request.get_value(self._options.line) == Value.ACTIVE)
        except _FAILURES as error:
            raise _line_error(self._options, "cannot be read", error) from error

    def close(self) -> None:
        """Give the line back."""
        self._fd = -1
        with contextlib.suppress(*_FAILURES):
            self._request.release()


class ChipOutput:
    """An output line, inactive from the start until `set`."""

    def __init__(self, options: GpioLine, consumer: str) -> None:
        """Request the line. Raises LineError."""
        self._options = options
        self._consumer = consumer
        self._settings = gpiod.LineSettings(
            direction=Direction.OUTPUT,
            output_value=Value.INACTIVE,
            active_low=options.active_low,
            bias=_BIAS[options.bias],
        )
        self.reopen()

    def set(self, active: bool) -> None:
        """Drive the line. Raises LineError when it is gone."""
        try:
            self._request.set_value(self._options.line, Value.ACTIVE if active else Value.INACTIVE)
        except _FAILURES as error:
            raise _line_error(self._options, "cannot be driven", error) from error

    def check(self) -> None:
        """Raise LineError when the line is gone; drives nothing."""
        try:
            self._request.get_value(self._options.line)
        except _FAILURES as error:
            raise _line_error(self._options, "is gone", error) from error

    def reopen(self) -> None:
        """Request the line, inactive; again after `close`. Raises LineError."""
        self._request = _request(self._options, self._settings, self._consumer)

    def close(self) -> None:
        """Drive the line inactive and give it back."""
        with contextlib.suppress(*_FAILURES):
            self._request.set_value(self._options.line, Value.INACTIVE)
        with contextlib.suppress(*_FAILURES):
            self._request.release()


def _request(options: GpioLine, settings: gpiod.LineSettings, consumer: str) -> gpiod.LineRequest:
    try:
        return gpiod.request_lines(options.chip, config={options.line: settings}, consumer=consumer)
    except _FAILURES as error:
        raise _line_error(options, "cannot be had", error) from error


def _line_error(options: GpioLine, what: str, error: Exception) -> LineError:
    number = error.errno if isinstance(error, OSError) else None
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    advice = _ADVICE.get(number or 0, "`gpioinfo` lists chips and lines")
    return LineError(f"GPIO line {options.line} of {options.chip} {what}: {cause}; {advice}")
