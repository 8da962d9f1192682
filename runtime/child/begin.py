"""What each of our own processes beside the daemon does first."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Sequence

SOCKET, MEMORY = 3, 4
"""Descriptors that a child inherits."""

_PR_SET_NAME = 15  # linux/prctl.h


def begin(name: str, cpus: Sequence[int]) -> None:
    """Take a name, at most 15 characters, and the CPUs (none: any); leave ending to the daemon."""
    # Ctrl-C, and what a service manager sends to all, are for the daemon: when it ends, so do we.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGABRT):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())
    if cpus:
        os.sched_setaffinity(0, cpus)
