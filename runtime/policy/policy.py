"""What the control loop knows of a policy, whether it runs in a worker or inline."""

from __future__ import annotations

from collections import Counter
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.policy.latency import Latency
from runtime.policy.worker.wire import Can

Observation = NDArray[np.float32]

Failure = Literal["crashed", "hung", "nan", "wrong_shape", "stale", "error", "unavailable"]
"""What can go wrong; the event is called `policy.` and this word."""


class Policy(Protocol):
    """Takes observations, gives chunks to the function that it was constructed with."""

    ready: bool
    """Loaded, warmed up and healthy."""
    busy: bool
    """A request is under way."""
    away: bool
    """It had no answer when it was asked last, and nothing is wrong with its worker."""
    observation: Observation
    """The caller writes the next observation here, shape (N,), while ready and not busy."""
    plan: Observation
    """Likewise the plan that the chunk is to continue, shape (H, A)."""
    can: Can
    """What it can do besides giving chunks; known once it is ready."""
    failures: Counter[Failure]
    latency: Latency
    """From the request to the arrival of the chunk."""
    inference: Latency
    """The inference alone, with the injected latency."""
    restarts: int

    async def start(self) -> None:
        """Load the model and warm it up. Raises PolicyError in the words of whatever refused."""

    def request(self, t0_ns: int, known: int = 0, delay: int = 0) -> bool:
        """Ask for a chunk for `observation` whose action 0 is meant for `t0_ns`. False when not ready or busy.

        `known`: so many rows of `plan` are to be continued; `delay`: so many of those run until the chunk arrives.
        """

    def set_task(self, prompt: str) -> None:
        """What to do from the next request on; without effect on a policy that has no tasks."""

    async def close(self) -> None:
        """Stop and leave nothing behind. Never raises."""
