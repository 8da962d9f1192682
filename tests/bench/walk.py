"""A policy that costs next to nothing, for measuring what is around it: chunks that wander at random.

Runs in the worker's interpreter: numpy and the standard library only.
"""

from __future__ import annotations

from typing import Any

import numpy as np


class Walk:
    """Random walks from wherever; it is able to continue a plan."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        self._rng = np.random.default_rng(0)
        self._shape = (options["horizon"], options["action_size"])

    def infer(self, observation: Any) -> Any:
        return np.cumsum(self._rng.normal(0.0, 0.01, self._shape), axis=0)

    def continue_plan(self, observation: Any, plan: Any, delay: int) -> Any:
        chunk = self.infer(observation) + plan[-1]
        chunk[: len(plan)] = plan
        return chunk
