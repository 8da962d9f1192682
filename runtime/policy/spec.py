"""What a policy needs to run, worker or inline: built from the config, understood by both."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """The model, the shapes on both sides of it, and how patient to be with it."""

    backend: str = "onnx"
    """One of `backends.BUILT_IN`, `module:Class`, or a name that a package offers under `reflexd.policies` in the
    worker's interpreter."""
    model: str = ""
    """Absolute path of the model file; empty for a backend that needs none."""
    observation_size: int
    """N: length of the observation vector."""
    horizon: int
    """H: actions in a chunk."""
    period_s: float
    """Time between two actions, s."""
    action_size: int
    """A: values in an action."""
    curve: Mapping[str, Any] | None = None
    """`Curve.settings`: the worker computes the curve of each chunk. None: it does not."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The backend's own options; must fit into JSON."""
    python: str = sys.executable
    """The worker's interpreter, Python 3.9 or newer with numpy and what the backend imports."""
    paths: tuple[str, ...] = ()
    """Folders in front of the worker's import path, for a backend that lies beside its config."""
    threads: int = 1
    """Threads for one inference."""
    cpus: tuple[int, ...] = ()
    """CPUs that the worker may use; empty: those of the thread that calls `start`."""
    latency_s: float = 0.0
    """Every inference is made to take at least this long, s; for tests and demos."""
    timeout_s: float = 1.0
    """A worker that has not answered after this long hangs, s."""
    max_age_s: float = 1.0
    """A chunk whose observation was older than this when the inference ended is stale, s."""
    load_timeout_s: float = 60.0
    """A worker that has said nothing this long after its start hangs, s."""

    @property
    def given(self) -> dict[str, Any]:
        """Options that every backend is given beside its own: `backends.GIVEN`."""
        return {
            "threads": self.threads,
            "timeout": self.timeout_s,
            "period": self.period_s,
            "horizon": self.horizon,
            "action_size": self.action_size,
        }
