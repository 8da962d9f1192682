"""A timerfd with absolute deadlines on CLOCK_MONOTONIC.

Python below 3.13 has no `os.timerfd_create`, so the C library is called directly; see timerfd_create(2).
"""

from __future__ import annotations

import ctypes
import os
import time

_TFD_NONBLOCK = os.O_NONBLOCK
_TFD_CLOEXEC = os.O_CLOEXEC
_TFD_TIMER_ABSTIME = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


_libc = ctypes.CDLL(None, use_errno=True)


def open_periodic(first_ns: int, period_ns: int) -> int:
    """Open a timer that expires at `first_ns` (CLOCK_MONOTONIC) and every `period_ns` after it.

    Returns a non-blocking descriptor; reading 8 bytes from it gives the expirations since the last read.
    """
    fd = int(_libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create failed")
    spec = _Itimerspec(_Timespec(*divmod(period_ns, 1_000_000_000)), _Timespec(*divmod(first_ns, 1_000_000_000)))
    if _libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
        number = ctypes.get_errno()
        os.close(fd)
        raise OSError(number, "timerfd_settime failed")
    return fd


def expirations(fd: int) -> int:
    """Deadlines that passed since the last call; 0 when none did."""
    try:
        return int.from_bytes(os.read(fd, 8), "little")
    except BlockingIOError:
        return 0
