"""Lines of an emulated robot's GPIO chip: one SOCK_SEQPACKET connection per line.

The first message is the request, a JSON object; the chip answers with the level, one byte, or with a JSON
object `{"error": TEXT}`. Then levels go from the chip to an input, and from an output to the chip. The
connection's end releases the line: the chip drives an output inactive, whatever ended its holder.
"""

from __future__ import annotations

import json
import os
import socket

from drivers.errors import LineError
from drivers.gpio.options import EmulatedLine
from drivers.line import REOPEN_SECONDS

ANSWER_SECONDS = 2.0
_LEVELS = (b"\x00", b"\x01")
_MESSAGE_MAX = 1024


class _Connection:
    """What both directions have in common."""

    def __init__(self, options: EmulatedLine, direction: str) -> None:
        self._options = options
        self._direction = direction
        self._open(ANSWER_SECONDS)

    def fileno(self) -> int:
        """Descriptor that becomes readable at a change, and when the line is gone."""
        return self._socket.fileno()

    def reopen(self) -> None:
        """Request the line again after `close`. Raises LineError."""
        self._open(REOPEN_SECONDS)

    def close(self) -> None:
        """Give the line back; the chip drives an output inactive."""
        self._socket.close()

    def _open(self, answer_s: float) -> None:
        request = {"line": self._options.line, "direction": self._direction}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.settimeout(answer_s)
            self._socket.connect(os.fspath(self._options.path))
            self._socket.send(json.dumps(request).encode())
            answer = self._socket.recv(_MESSAGE_MAX)
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise self._error(
                f"cannot be had: {error.strerror or error}; is the emulated robot running?"
            ) from error
        if answer not in _LEVELS:
            self._socket.close()
            raise self._error(f"was refused: {_reason(answer)}")
        self._active = answer == _LEVELS[1]

    def _error(self, what: str) -> LineError:
        return LineError(f"emulated GPIO line {self._options.line} at {self._options.path} {what}")


class EmulatedInput(_Connection):
    """An input line of the emulated chip."""

    def __init__(self, options: EmulatedLine) -> None:
        """Request the line. Raises LineError."""
        super().__init__(options, "in")

    def read(self) -> bool:
        """Level now, after dropping the changes that led to it. Raises LineError when the line is gone."""
        while True:
            try:
                message = self._socket.recv(_MESSAGE_MAX)
            except BlockingIOError:
                return self._active
            except OSError as error:
                raise self._error(f"is gone: {error.strerror}") from error
            if message not in _LEVELS:
                raise self._error(f"is gone: {_reason(message)}")
            self._active = message == _LEVELS[1]


class EmulatedOutput(_Connection):
    """An output line of the emulated chip, inactive from the start until `set`."""

    def __init__(self, options: EmulatedLine) -> None:
        """Request the line. Raises LineError."""
        super().__init__(options, "out")

    def set(self, active: bool) -> None:
        """Drive the line. Raises LineError when it is gone."""
        try:
            self._socket.send(_LEVELS[active])
        except OSError as error:
            raise self._error(f"is gone: {error.strerror or error}; is the emulated robot running?") from error

    def check(self) -> None:
        """Raise LineError when the line is gone; drives nothing."""
        try:
            message = self._socket.recv(_MESSAGE_MAX)  # the chip has nothing to say to a good output
        except BlockingIOError:
            return
        except OSError as error:
            raise self._error(f"is gone: {error.strerror or error}; is the emulated robot running?") from error
        raise self._error(f"is gone: {_reason(message)}")


def _reason(message: bytes) -> str:
    if not message:
        return "the chip closed the connection; is the emulated robot running?"
    try:
        return str(json.loads(message)["error"])
    except (ValueError, KeyError, TypeError):
        return f"the chip said {message[:40]!r}, a level or an error was expected"
