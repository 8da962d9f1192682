"""What a child does first that runs code of others: it gives up what a real-time parent hands down.

Runs in any interpreter: Python 3.9 and the standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import os
import signal
import sys
from typing import Sequence

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def close_foreign(highest: int) -> None:
    """Close what a careless library of the daemon handed down above descriptor `highest`: a bus, say, that would
    then stay open."""
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor > highest:
            # The descriptor of the listing itself is closed already.
            with contextlib.suppress(OSError):
                os.close(descriptor)


def become_ordinary(name: str, parent: int, cpus: Sequence[int], key: str) -> None:
    """Give up what a real-time parent hands down, and make sure to end with it.

    `name`: of the process, 15 letters at most. `key`: where the config has `cpus`.
    """
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if cpus:
        try:
            os.sched_setaffinity(0, cpus)
        except OSError as error:
            usable = sorted(os.sched_getaffinity(0))
            sys.exit(f"{key}: found {list(cpus)}, expected some of {usable} ({error})")
    # Where memory runs out, a child can be replaced and the daemon cannot. Some containers forbid to say so.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    # A segmentation fault then says where, on stderr, and so in the daemon's event.
    faulthandler.enable()
    # Ctrl-C and a service manager's stop are for the daemon, which needs its children until the robot stands.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_NAME, name.encode())
    # The closed socket ends an idle child; this ends one that is deep in a library.
    prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != parent:
        sys.exit("the daemon ended before its child had started")
