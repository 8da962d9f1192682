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


def open_timer() -> int:
    """Open a timer that is not set; a non-blocking descriptor."""
    fd = int(_libc.timerfd_create(time.CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "timerfd_create failed")
    return fd


def set_timer(fd: int, first_ns: int, period_ns: int = 0) -> None:
    """Let the timer expire at `first_ns` (CLOCK_MONOTONIC), and every `period_ns` after it unless that is 0."""
    spec = _Itimerspec(_Timespec(*divmod(period_ns, 1_000_000_000)), _Timespec(*divmod(first_ns, 1_000_000_000)))
    if _libc.timerfd_settime(fd, _TFD_TIMER_ABSTIME, ctypes.byref(spec), None) != 0:
        raise OSError(ctypes.get_errno(), "timerfd_settime failed")


def expirations(fd: int) -> int:
    """How often the timer has expired since the last call."""
    try:
        return int.from_bytes(os.read(fd, 8), "little")
    except BlockingIOError:
        return 0
