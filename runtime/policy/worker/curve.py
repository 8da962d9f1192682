"""What a chunk of raw actions means: goals of joints, and a smooth curve through them.

The worker computes it: in the tick's thread so many small array operations would cost more than all the rest of a
chunk. Runs in the worker's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

from typing import Any, Optional, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# Makes 0 / 0 a 0, and changes no other quotient.
_TINY = 1e-300


class Curve:
    """Goal of joint `index[k]` = `offset[k]` + `scale[k]` * raw action k, rad; other joints are at 0."""

    def __init__(
        self,
        index: Sequence[int],
        offset: Sequence[float],
        scale: Sequence[float],
        held: Sequence[bool],
    ) -> None:
        """`held`: which of the robot's joints keep an action until the next, instead of moving on to it."""
        self.settings: dict[str, Any] = {
            "index": [*index],
            "offset": [*offset],
            "scale": [*scale],
            "held": [*held],
        }
        """The arguments, as JSON has them."""
        self._index = np.array(index, np.int64)
        self._offset = np.array(offset, np.float64)
        self._scale = np.array(scale, np.float64)
        self._held = np.array(held, np.bool_) if any(held) else None
        self._joints = len(held)

    def through(self, actions: npt.NDArray[Any]) -> Array:
        """`cubics` through raw actions, shape (H, A)."""
        goals = np.zeros((len(actions), self._joints))
        with np.errstate(all="ignore"):  # whoever takes the chunk tells of numbers that are not finite
            goals[:, self._index] = self._offset + self._scale * actions
            return cubics(goals, self._held)


def cubics(goals: Array, held: Optional[Mask], straight: bool = False) -> Array:
    """Coefficients from the constant one up of the cubic that begins at each goal, shape (H, 4, joints).

    `goals`: rad, shape (H, joints). Their argument goes from 0 to 1 in one period. The last one is constant. No
    joint goes beyond two goals that follow each other (monotone slopes by Fritsch and Butland, SIAM J. Sci. Stat.
    Comput. 5, 1984; also called PCHIP). `held`: joints that keep each goal until the next. `straight`: lines.
    """
    found = np.zeros((len(goals), 4, goals.shape[1]))
    found[:, 0] = goals
    step = goals[1:] - goals[:-1]
    if held is not None:
        step[:, held] = 0.0
    if straight or len(goals) == 1:
        found[:-1, 1] = step
        return found
    slope = np.empty_like(goals)
    slope[0], slope[-1] = step[0], step[-1]
    # The harmonic mean of the steps on both sides where they go the same way, else none: never an overshoot.
    product = step[:-1] * step[1:]
    np.maximum(product, 0.0, out=product)
    product += product
    total = step[:-1] + step[1:]
    total += _TINY
    np.divide(product, total, out=slope[1:-1])
    begin = slope[:-1]
    bend = begin + slope[1:]
    bend -= step
    bend -= step
    step -= begin
    step -= bend
    found[:-1, 1], found[:-1, 2], found[:-1, 3] = begin, step, bend
    return found
