"""A policy that has lost its mind: every action is another place, anywhere."""

from __future__ import annotations

from typing import Any

import numpy as np


class Noise:
    def __init__(self, model: str, options: dict[str, Any]) -> None:
        self.joints = int(options["joints"])
        self.dice = np.random.default_rng(1)

    def infer(self, observation: Any) -> Any:
        return self.dice.normal(scale=100.0, size=(50, self.joints)).astype(np.float32)
