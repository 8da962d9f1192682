"""A policy that swings all joints: the server's, and the fallback's of the remote cases."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

HORIZON, RATE = 50, 50.0
AMPLITUDE, HERTZ = 0.4, 0.25
_SETTLE_S = 0.3


def swing(position: Any, now_s: float) -> Any:
    """From where the joints are to a slow swing that depends on the time alone, rad, (50, joints)."""
    at = np.arange(HORIZON)[:, None] / RATE
    goal = AMPLITUDE * np.sin(2 * np.pi * HERTZ * (now_s + at))
    return (goal + (position - AMPLITUDE * np.sin(2 * np.pi * HERTZ * now_s)) * np.exp(-at / _SETTLE_S)).astype(
        "f4"
    )


class Swing:
    def __init__(self, model: str, options: dict[str, Any]) -> None:
        """It has no model and no options."""

    def infer(self, observation: Any) -> Any:
        return swing(observation, time.monotonic())
