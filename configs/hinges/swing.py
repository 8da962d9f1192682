"""A policy without learning: every joint swings by 0.4 rad with a period of two seconds."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

HORIZON = 50


class Swing:
    """`hinges.swing:Swing` in the config: a class with these two methods is a policy."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        self.joints = int(options["joints"])
        self.rate = float(options["rate"])

    def infer(self, observation: Any) -> Any:
        times = time.monotonic() + np.arange(HORIZON) / self.rate
        swing = 0.4 * np.sin(np.pi * times)
        return np.repeat(swing[:, None], self.joints, axis=1).astype(np.float32)
