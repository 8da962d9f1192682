"""A sudden change of a joint's torque: what hits the robot, or what it hits.

Without a model of the robot's masses the torque of free motion is not known. But gravity, friction and the
motion of a robot that touches nothing change slowly, and a blow does not: the expected torque is the mean of the
last moments, and what differs from it is taken for a contact. It is the high-pass filter of Geravand, Flacco and
De Luca, "Human-robot physical interaction and collaboration using an industrial robot with a closed control
architecture" (ICRA 2013), without their low-pass half.

It cannot see a contact that grows slowly, one that was there before, or one at a joint that carries none of it. It
cannot tell a blow from a motion that is as sudden: limits lie above what the robot's own motions need.
"""

from __future__ import annotations

import numpy as np

from drivers.state import Floats, JointState


class Collision:
    """Distance of each joint's torque from its mean, Nm, shape (joints,)."""

    def __init__(self, state: JointState, settle_ns: int) -> None:
        """`settle_ns`: time constant of the mean. After a pause as long as that it begins anew."""
        self._torque = state.torque
        self._settle_ns = settle_ns
        self._mean: Floats = np.full(len(state.torque), np.nan)
        self._last_ns: int | None = None

    def __call__(self, now_ns: int) -> Floats:
        """The source of a monitor."""
        torque = np.where(np.isfinite(self._torque), self._torque, np.nan)
        passed_ns = self._settle_ns if self._last_ns is None else now_ns - self._last_ns
        self._last_ns = now_ns
        if passed_ns >= self._settle_ns:
            self._mean = torque
        self._mean = np.where(np.isfinite(self._mean), self._mean, torque)
        away = torque - self._mean
        self._mean = self._mean + np.where(np.isfinite(away), away, 0.0) * (passed_ns / self._settle_ns)
        return np.abs(away)
