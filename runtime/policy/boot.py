"""How the policy worker is started."""

from __future__ import annotations

import os

from runtime.child.begin import MEMORY, SOCKET
from runtime.child.foreign import arguments as foreign
from runtime.policy.spec import WorkerSpec


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
        # They follow the memory, in this order.
        "cameras": {name: MEMORY + place for place, name in enumerate(spec.cameras, 1)},
        "pictures": spec.pictures,
    }
    return foreign(spec.python, "policy.python", "runtime.policy.worker.main", settings)
