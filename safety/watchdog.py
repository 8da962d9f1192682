"""Watchdogs that the safety thread feeds: the service manager's, and the machine's own (Linux watchdog API).

The kernel's documents: Documentation/watchdog/watchdog-api.rst and watchdog-kernel-api.rst; the numbers:
include/uapi/linux/watchdog.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from typing import Protocol

from safety.errors import WatchdogError

GETSUPPORT = 0x80285700  # _IOR('W', 0, struct watchdog_info): two u32, then 32 bytes of text
KEEPALIVE = 0x80045705  # _IOR('W', 5, int)
SETTIMEOUT = 0xC0045706  # _IOWR('W', 6, int)
GETTIMEOUT = 0x80045707  # _IOR('W', 7, int)
MAGICCLOSE = 0x0100
"""WDIOF_MAGICCLOSE: the driver goes on after a close, unless a `V` was written before."""

SYSFS = Path("/sys/class/watchdog")

_INT = struct.Struct("i")
_INFO = struct.Struct("II32s")
_ADVICE = {
    errno.ENOENT: "load the driver of this machine's watchdog, or correct safety.watchdog.device; "
    "`ls /dev/watchdog*` shows those that are there",
    errno.EACCES: "give the daemon's user the device through a udev rule, see docs/safety.md",
    errno.EPERM: "let the service use the device: DeviceAllow=char-watchdog rw, see docs/safety.md",
    errno.EBUSY: "another program feeds it, often systemd itself (RuntimeWatchdogSec= in system.conf); leave it "
    "to one of the two, or use another device",
    errno.ENOTTY: "this is no watchdog; correct safety.watchdog.device",
    errno.ENODEV: "its driver is gone; load it again",
    errno.EINVAL: "its driver does not take this time-out; the file max_timeout in /sys/class/watchdog/watchdogN "
    "tells the longest one",
}


class Watchdog(Protocol):
    """Something that acts by itself when it is not fed. One thread calls all methods, in the order given here."""

    name: str
    timeout_s: float
    """So long after the last feeding it acts, s."""

    @property
    def armed(self) -> bool:
        """Whether it acts when it is not fed."""

    def open(self) -> tuple[str, str]:
        """Arm it. Returns a message and its level for an event. Raises WatchdogError."""

    def feed(self) -> None:
        """Feed it. Raises OSError when it cannot be fed."""

    def close(self, clean: bool) -> tuple[str, str]:
        """`clean`: disarm it; otherwise leave it to act. Returns what became of it as `open`. Never raises."""


class ServiceWatchdog:
    """The service manager's: it ends and restarts the daemon. It is neither armed nor disarmed from here."""

    name = "the service manager's watchdog"

    def __init__(self, tell: Callable[[], object], timeout_s: float) -> None:
        """`tell` says that the daemon is alive; unheard, the service manager acts by itself."""
        self._tell = tell
        self.timeout_s = timeout_s

    @property
    def armed(self) -> bool:
        """The service manager has armed it before the daemon began."""
        return True

    def open(self) -> tuple[str, str]:
        """It runs already."""
        return f"{self.name} restarts the daemon {self.timeout_s:g} s after its last feeding", "info"

    def feed(self) -> None:
        """Tell the service manager."""
        with contextlib.suppress(Exception):
            self._tell()

    def close(self, clean: bool) -> tuple[str, str]:
        """Nothing to do: the service manager knows when the daemon stops."""
        return "", ""


class Device(Protocol):
    """What the kernel's watchdog API offers. Everything raises OSError."""

    def support(self) -> tuple[int, str]:
        """Options (WDIOF_... bits) and name of the driver."""

    def set_timeout(self, seconds: int) -> None:
        """Ask for a time-out; the driver may round it."""

    def timeout(self) -> int:
        """The time-out in force, s."""

    def keepalive(self) -> None:
        """Begin the time-out anew."""

    def allow_stop(self) -> None:
        """Let the next `close` stop the watchdog (the magic `V`), unless its driver has `nowayout`."""

    def close(self) -> None:
        """Close the device."""


class CharDevice:
    """The real one. Opening it starts it."""

    def __init__(self, path: Path) -> None:
        """Open the device. Raises OSError."""
        if not stat.S_ISCHR(os.stat(path).st_mode):
            raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))
        self._fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def support(self) -> tuple[int, str]:
        """Options and name of the driver (WDIOC_GETSUPPORT)."""
        options, _, identity = _INFO.unpack(ioctl(self._fd, GETSUPPORT, bytes(_INFO.size)))
        return options, identity.split(b"\0")[0].decode(errors="replace")

    def set_timeout(self, seconds: int) -> None:
        """WDIOC_SETTIMEOUT."""
        ioctl(self._fd, SETTIMEOUT, _INT.pack(seconds))

    def timeout(self) -> int:
        """WDIOC_GETTIMEOUT."""
        return int(_INT.unpack(ioctl(self._fd, GETTIMEOUT, bytes(_INT.size)))[0])

    def keepalive(self) -> None:
        """WDIOC_KEEPALIVE."""
        ioctl(self._fd, KEEPALIVE, bytes(_INT.size))

    def allow_stop(self) -> None:
        """Write the magic `V`."""
        os.write(self._fd, b"V")

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


class HardwareWatchdog:
    """The machine's own: it resets the machine when the whole daemon, or the kernel, has frozen."""

    def __init__(
        self, path: Path, timeout_s: int, device: Callable[[Path], Device] = CharDevice, sysfs: Path = SYSFS
    ) -> None:
        """Keep the arguments; `open` arms it."""
        self.name = f"the hardware watchdog {path}"
        self.timeout_s: float = timeout_s
        self._path = path
        self._asked_s = timeout_s
        self._open_device = device
        self._device: Device | None = None
        self._sysfs = sysfs

    @property
    def armed(self) -> bool:
        """Its device is open, which is what arms it."""
        return self._device is not None

    def open(self) -> tuple[str, str]:
        """Open the device, which starts it, and set the time-out. Raises WatchdogError and stops it again."""
        try:
            self._device = device = self._open_device(self._path)
        except OSError as error:
            raise self._error("cannot be opened", error) from error
        try:
            options, identity = device.support()
            self.name = f"the hardware watchdog {identity} ({self._path})"
            # A driver without this request has a fixed time-out: whether it will do shows below.
            try:
                device.set_timeout(self._asked_s)
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    raise
            device.keepalive()
            found_s = device.timeout()
        except OSError as error:
            raise self._refused(self._error(f"cannot be set to {self._asked_s} s and fed", error)) from error
        if found_s < self._asked_s:
            raise self._refused(
                WatchdogError(
                    f"{self.name} took a time-out of {found_s} s, expected the {self._asked_s} s of "
                    f"safety.watchdog.timeout; set that to {found_s}, if the daemon restarts within this time"
                )
            )
        self.timeout_s = found_s
        return self._armed(options)

    def feed(self) -> None:
        """Begin the time-out anew. Raises OSError."""
        if self._device is not None:
            self._device.keepalive()

    def close(self, clean: bool) -> tuple[str, str]:
        """Close the device; `clean` stops it, otherwise the machine is reset unless somebody feeds it again."""
        device, self._device = self._device, None
        if device is None:
            return "", ""
        stopped = False
        if clean:
            with contextlib.suppress(OSError):
                device.allow_stop()
                stopped = not self._nowayout
        with contextlib.suppress(OSError):
            device.close()
        if stopped:
            return f"{self.name} is stopped", "info"
        return (
            f"{self.name} is left running: it resets the machine within {self.timeout_s:g} s, "
            "unless the daemon is started again before",
            "warning",
        )

    def _armed(self, options: int) -> tuple[str, str]:
        text = f"{self.name} resets the machine {self.timeout_s:g} s after its last feeding"
        if not options & MAGICCLOSE:
            return f"{text}; but its driver stops it when the daemon dies: a crash is not noticed by it", "warning"
        if self._nowayout:
            text += "; it cannot be stopped (nowayout): a stop of the daemon ends with a reset, too"
        return text, "info"

    @property
    def _nowayout(self) -> bool:
        with contextlib.suppress(OSError):
            return (sysfs_entry(self._path, self._sysfs) / "nowayout").read_text().strip() == "1"
        return False

    def _refused(self, error: WatchdogError) -> WatchdogError:
        left, level = self.close(clean=True)
        return error if level == "info" else WatchdogError(f"{error}; {left}")

    def _error(self, what: str, error: OSError) -> WatchdogError:
        advice = _ADVICE.get(error.errno or 0, "see docs/safety.md")
        return WatchdogError(f"{self.name} {what}: {error.strerror or error}; {advice}")


def sysfs_entry(device: Path, sysfs: Path = SYSFS) -> Path:
    """Where sysfs tells of a watchdog: under the device's name. `/dev/watchdog` is the first one's old name."""
    name = Path(os.path.realpath(device)).name
    return sysfs / ("watchdog0" if name == "watchdog" else name)
