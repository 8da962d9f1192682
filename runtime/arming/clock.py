"""Arming check: the wall clock is synchronised, where the config asks for it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

_TIME_ERROR = 5
"""What adjtimex(2) returns while the clock is not synchronised (STA_UNSYNC) or its driver has failed."""
_TIMEX_BYTES = 256
"""struct timex has at most 208; all zero, it changes nothing and needs no privilege."""


def is_synchronised() -> bool:
    """Whether the kernel takes the clock for synchronised. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = libc.adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    if state < 0:
        number = ctypes.get_errno()
        raise OSError(number, "adjtimex failed")
    return bool(state != _TIME_ERROR)


def clock(required: bool, ask: Callable[[], bool] = is_synchronised) -> list[str]:
    """`required`: of the config. `ask`: whether the clock is synchronised; raises OSError."""
    if not required:
        return []
    try:
        if ask():
            return []
        found = "is not synchronised"
    except OSError as error:
        found = f"does not tell whether it is synchronised ({error.strerror})"
    return [
        f"the clock {found}, expected it to be (safety.arming.clock); start a time service (chrony, "
        "systemd-timesyncd) and wait for it"
    ]
