"""Real-time chunking: how much of the plan that is being executed the next chunk has to keep.

After Black, Galliker and Levine, "Real-Time Execution of Action Chunking Flow Policies", 2025, arXiv 2506.07339.
Terms: H actions in a chunk, K of them known from the plan (the paper's H - s), d actions that run until the chunk
arrives. Runs in the worker's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def weights(horizon: int, known: int, delay: int) -> Array:
    """How strongly each action is held to the plan, 0 to 1, float32, shape (H,): the paper's equation 5.

    1 for i < d; c (e^c - 1) / (e - 1) with c = (K - i) / (K - d + 1) for d <= i < K; 0 from K on.
    `delay` is at most `known`, and that at most `horizon`.
    """
    i = np.arange(horizon)
    c = (known - i) / (known - delay + 1)
    faded = c * np.expm1(c) / math.expm1(1.0)
    return np.where(i < delay, 1.0, np.where(i < known, faded, 0.0)).astype(np.float32)


def guidance(tau: float, beta: float) -> float:
    """How much of the correction is added to the velocity at `tau`, 0 <= tau < 1: the paper's equation 2.

    min(beta, (1 - tau) / (tau r^2)) with r^2 = (1 - tau)^2 / (tau^2 + (1 - tau)^2).
    """
    if tau == 0.0:
        return beta  # the other one is infinite
    r_squared = (1.0 - tau) ** 2 / (tau**2 + (1.0 - tau) ** 2)
    return min(beta, (1.0 - tau) / (tau * r_squared))
