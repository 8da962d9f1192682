"""A policy whose chunks never agree with each other, unless it is handed the plan: then it goes on from that."""

from __future__ import annotations

from typing import Any

import numpy as np

HORIZON = 50


class Alone:
    """Every joint stands anywhere within 0.3 rad, another place with each chunk."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        self.joints = int(options["joints"])
        self._rng = np.random.default_rng(1)

    def infer(self, observation: Any) -> Any:
        return np.repeat(self._rng.uniform(-0.3, 0.3, (1, self.joints)), HORIZON, axis=0).astype(np.float32)


class Continuing(Alone):
    """Stays on the plan as long as that goes, then moves on at 0.1 rad/s."""

    def continue_plan(self, observation: Any, plan: Any, delay: int) -> Any:
        if not 0 < delay < len(plan) <= HORIZON:
            raise ValueError(f"found a plan of {len(plan)} actions, {delay} of them run meanwhile")
        more = plan[-1] + 0.002 * np.arange(1, HORIZON - len(plan) + 1)[:, None]
        return np.concatenate([plan, more]).astype(np.float32)
