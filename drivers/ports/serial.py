"""Serial ports: opened with care once, then read and written as a raw, non-blocking descriptor."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path

import serial

from drivers.errors import PortError

SYSFS = Path("/sys/bus/usb-serial/devices")
_CHUNK = 4096
_ADVICE = {
    errno.ENOENT: "it does not exist; is the adapter plugged in?",
    errno.EACCES: "no permission; add the user to the group that owns it (usually dialout) and log in again",
    errno.EAGAIN: "another program uses it; end that program first (`fuser -v` names it)",
    errno.EBUSY: "another program uses it; end that program first (`fuser -v` names it)",
}


class SerialPort:
    """An exclusive raw port, 8N1. `read` and `write` never wait and never raise."""

    def __init__(self, path: str, baud: int) -> None:
        """Open the port. Raises PortError."""
        self.path = path
        self._baud = baud
        self.error: OSError | None = None
        """The last error of the port, None while all is well; a port that is gone stays silent."""
        try:
            self._serial = serial.Serial(path, baud, timeout=0, exclusive=True)
        except (OSError, ValueError) as error:
            code = error.errno if isinstance(error, OSError) else None
            advice = _ADVICE.get(code or 0, str(error))
            raise PortError(f"serial port {path} at {baud} baud cannot be opened: {advice}") from error
        self._fd: int = self._serial.fileno()
        os.set_blocking(self._fd, False)
        self.low_latency = self._set_low_latency()
        """Whether the adapter took the low-latency flag; a terminal without one works without it."""
        self.latency_ms = self._set_latency_timer()
        """How long the adapter may hold received bytes back, ms; None: it has no such timer."""

    def reopen(self) -> None:
        """Open the path again after an error: an adapter that comes back is another device. Raises PortError.

        The new device takes the old descriptor (dup2): another thread may be about to write to that number.
        """
        fresh = SerialPort(self.path, self._baud)
        os.dup2(fresh.fileno(), self._fd, inheritable=False)
        self.low_latency, self.latency_ms = fresh.low_latency, fresh.latency_ms
        fresh.close()
        self.error = None

    def fileno(self) -> int:
        """The descriptor; -1 after `close`."""
        return self._fd

    def write(self, data: bytes) -> bool:
        """Send all of `data` at once; False: the port did not take it."""
        try:
            return os.write(self._fd, data) == len(data)
        except BlockingIOError:
            return False
        except OSError as error:
            self.error = error
            return False

    def read(self) -> bytes:
        """What has arrived, at most 4096 bytes; b"" when nothing has."""
        try:
            return os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return b""
        except OSError as error:
            self.error = error
            return b""

    def close(self) -> None:
        """Close the port; twice does no harm."""
        self._fd = -1
        with suppress(OSError):
            self._serial.close()

    def _set_low_latency(self) -> bool:
        try:
            self._serial.set_low_latency_mode(True)
        except (ValueError, OSError, NotImplementedError):
            return False
        return True

    def _set_latency_timer(self) -> int | None:
        # The low-latency flag already sets this timer to 1 ms in FTDI's driver; this catches the adapters
        # where it does not, and tells the value that is in force.
        timer = SYSFS / Path(os.path.realpath(self.path)).name / "latency_timer"
        try:
            if int(timer.read_text()) > 1:
                with suppress(OSError):
                    timer.write_text("1")
            return int(timer.read_text())
        except (OSError, ValueError):
            return None

    @property
    def problem(self) -> str | None:
        """Why the adapter is too slow for a control loop, and how to change it; None: it is not."""
        if self.latency_ms is None or self.latency_ms <= 1:
            return None
        name = Path(os.path.realpath(self.path)).name
        return (
            f"the adapter at {self.path} holds received bytes back for {self.latency_ms} ms, at most 1 ms is "
            f"expected; run `echo 1 | sudo tee {SYSFS / name / 'latency_timer'}`, or make it permanent with the "
            'udev rule ACTION=="add", SUBSYSTEM=="usb-serial", ATTR{latency_timer}="1"'
        )
