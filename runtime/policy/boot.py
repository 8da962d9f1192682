"""How the policy worker is started in an interpreter that need not be the daemon's."""

from __future__ import annotations

import json
import os
from pathlib import Path

from runtime.child.process import MEMORY, SOCKET
from runtime.policy.spec import WorkerSpec

_HOUSE = Path(__file__).parent.parent

# Only our own folder is put before the other interpreter, as a package without its `__init__`: with our
# site-packages on its path it would import numpy and others that were built for this interpreter.
_BOOT = """\
import sys
if sys.version_info < (3, 9):
    sys.exit("policy.python is Python %d.%d; the policy worker needs 3.9 or newer" % sys.version_info[:2])
sys.path[:] = [folder for folder in sys.path if folder]
import types
runtime = sys.modules["runtime"] = types.ModuleType("runtime")
runtime.__path__ = [sys.argv[1]]
from runtime.policy.worker.main import main
main(sys.argv[2])
"""


def arguments(spec: WorkerSpec, task: str) -> tuple[str, ...]:
    """The command line of the worker. `task`: what its policy has to do first."""
    settings = {
        "parent": os.getpid(),
        "backend": spec.backend,
        "model": spec.model,
        "options": dict(spec.options),
        "paths": spec.paths,
        "given": spec.given,
        "threads": spec.threads,
        "task": task,
        "curve": spec.curve,
        "cpus": spec.cpus,
        "latency_s": spec.latency_s,
        "socket": SOCKET,
        "memory": MEMORY,
    }
    # Dates are all that TOML knows and JSON does not.
    return (spec.python, "-c", _BOOT, str(_HOUSE), json.dumps(settings, default=str))
