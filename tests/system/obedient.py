"""A policy that has tasks: every joint goes to the angle that the prompt says. It has no other thoughts."""

from __future__ import annotations

from typing import Any

import numpy as np

HORIZON = 50


class Obedient:
    """Where the observation begins with the task's id, this must be the same angle: a task is never half a one."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        self.joints = int(options["joints"])
        self.angle = 0.0

    def set_task(self, prompt: str) -> None:
        self.angle = float(prompt)

    def infer(self, observation: Any) -> Any:
        # The warm-up shows zeros.
        if len(observation) > self.joints and observation.any() and not np.isclose(observation[0], self.angle):
            raise ValueError(f"mixed: the observation says {observation[0]}, the prompt {self.angle}")
        return np.full((HORIZON, self.joints), self.angle, np.float32)
