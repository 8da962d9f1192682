"""The worker process: give up the parent's privileges, load one model, serve, leave when the daemon does.

Runs in whatever interpreter the config names: Python 3.9, numpy and the standard library only, plus what the
backend imports. Started by `runtime.policy.boot`, with its settings as JSON.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from runtime.policy.worker import wire
from runtime.policy.worker.errors import BackendError, WrongShape, words
from runtime.policy.worker.ordinary import become_ordinary, close_foreign


def main(argument: str) -> None:
    """Serve until the daemon closes its end. Exits with 1 when the model cannot be loaded."""
    settings: dict[str, Any] = json.loads(argument)
    close_foreign(max(settings["socket"], settings["memory"], *settings["cameras"].values()))
    # Before numpy: the threads that it starts inherit all of this.
    become_ordinary("reflexd-policy", settings["parent"], settings["cpus"], "policy.cpus")
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, str(settings["threads"]))
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


def _check_numpy() -> None:
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise BackendError(
            f"{sys.executable} (Python {sys.version.split()[0]}) cannot import numpy ({error}); install numpy "
            "there or name another interpreter in policy.python"
        ) from error
