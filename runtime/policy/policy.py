"""What the control loop knows of a policy, whether it runs in a worker or inline."""

from __future__ import annotations

from collections import Counter
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.policy.latency import Latency

Observation = NDArray[np.float32]

Failure = Literal["crashed", "hung", "nan", "wrong_shape", "stale", "error"]
"""What can go wrong; the event is called `policy.` and this word."""


class Policy(Protocol):
    """Takes observations, gives chunks to the function that it was constructed with."""

    ready: bool
    """Loaded, warmed up and healthy."""
    busy: bool
    """A request is under way."""
    observation: Observation
    """The caller writes the next observation here, shape (N,), while ready and not busy."""
    failures: Counter[Failure]
    latency: Latency
    """From the time of the observation to the arrival of the chunk."""
    inference: Latency
    """The inference alone, with the injected latency."""
    restarts: int

    async def start(self) -> None:
        """Load the model and warm it up. Raises PolicyError in the words of whatever refused."""

    def request(self, t0_ns: int) -> bool:
        """Ask for a chunk for `observation`, taken at `t0_ns`. False when not ready or busy."""

    async def close(self) -> None:
        """Stop and leave nothing behind. Never raises."""
