"""The worker process: give up the parent's privileges, load one model, serve, leave when the daemon does.

Runs in whatever interpreter the config names: Python 3.9, numpy and the standard library only, plus what the
backend imports. Started by `runtime.policy.boot`, with its settings as JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import json
import os
import signal
import socket
import sys
from typing import Any

from runtime.policy.worker import wire
from runtime.policy.worker.errors import BackendError, WrongShape, words

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


def main(argument: str) -> None:
    """Serve until the daemon closes its end. Exits with 1 when the model cannot be loaded."""
    settings: dict[str, Any] = json.loads(argument)
    _close_foreign(settings)
    # Before numpy: the threads that it starts inherit all of this.
    _become_ordinary(settings)
    sys.path[:0] = settings["paths"]
    with socket.socket(fileno=settings["socket"]) as channel:
        channel.set_inheritable(False)
        try:
            _check_numpy()
            from runtime.policy.worker.serve import Server

            Server(settings).serve(channel)
        except Exception as error:
            status = wire.WRONG_SHAPE if isinstance(error, WrongShape) else wire.ERROR
            channel.send(wire.Hello(status, 0, 0, 0, words(error)).pack())
            sys.exit(1)


def _close_foreign(settings: dict[str, Any]) -> None:
    """Close what a careless library of the daemon handed down: a bus, say, that would then stay open."""
    highest = max(settings["socket"], settings["memory"])
    for descriptor in [int(name) for name in os.listdir("/proc/self/fd")]:
        if descriptor > highest:
            # The descriptor of the listing itself is closed already.
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _become_ordinary(settings: dict[str, Any]) -> None:
    """Give up what a real-time parent hands down, and make sure to end with it."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if settings["cpus"]:
        try:
            os.sched_setaffinity(0, settings["cpus"])
        except OSError as error:
            usable = sorted(os.sched_getaffinity(0))
            sys.exit(f"policy.cpus: found {settings['cpus']}, expected some of {usable} ({error})")
    # Where memory runs out, a worker can be replaced and the daemon cannot. Some containers forbid to say so.
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")
    # A segmentation fault then says where, on stderr, and so in the daemon's event.
    faulthandler.enable()
    # Ctrl-C and a service manager's stop are for the daemon, which needs its worker until the robot stands.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_NAME, b"reflexd-policy")
    # The closed socket ends an idle worker; this ends one that is deep in an inference.
    prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    if os.getppid() != settings["parent"]:
        sys.exit("the daemon ended before its worker had started")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(settings["threads"]))


def _check_numpy() -> None:
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise BackendError(
            f"{sys.executable} (Python {sys.version.split()[0]}) cannot import numpy ({error}); install numpy "
            "there or name another interpreter in policy.python"
        ) from error
