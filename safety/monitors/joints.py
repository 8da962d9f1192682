"""What is measured of the joints, by itself and against the command. Each returns a `Source`, one value per joint.

A reading that has grown old keeps its value here, and with it the verdict: that it is old is what `age` tells.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from drivers.state import Floats, JointState
from safety.monitors.monitor import Source

Command = Callable[[], Floats]
"""What was sent to the joints last, rad, shape (joints,)."""


def velocity(state: JointState) -> Source:
    """Measured speed, rad/s."""
    return lambda now_ns: np.abs(state.velocity)


def torque(state: JointState) -> Source:
    """Reported or estimated torque without its sign, Nm."""
    return lambda now_ns: np.abs(state.torque)


def following_error(state: JointState, command: Command) -> Source:
    """Distance between the command and the measured angle, rad."""
    return lambda now_ns: np.abs(command() - state.position)


def torque_error(state: JointState, command: Command, kp: Floats, kd: Floats) -> Source:
    """Distance between the reported torque and the one that the joint's law asks for, Nm: MIT mode,
    torque = kp (command - position) - kd velocity, all at the joint. NaN for a joint whose kp is NaN.

    A motor that turns weak, saturates, or is scaled wrongly shows here. A collision does not: the motor that
    meets an obstacle makes the torque that the law asks for.
    """
    return lambda now_ns: np.abs(kp * (command() - state.position) - kd * state.velocity - state.torque)


def temperature(state: JointState) -> Source:
    """Hottest reported temperature, °C. A joint that was never read counts as cold: arming is refused for it."""
    return lambda now_ns: np.where(state.stamp_ns > 0, state.temperature, 0.0)


def voltage(state: JointState) -> Source:
    """Supply voltage, V. A joint that was never read counts as well supplied: arming is refused for it."""
    return lambda now_ns: np.where(state.stamp_ns > 0, state.voltage, np.inf)


def age(state: JointState) -> Source:
    """Time since the newest reading was asked for, s; since the clock's start for a joint that was never read."""
    return lambda now_ns: (now_ns - state.stamp_ns) / 1e9


def blocked_torque(state: JointState, command: Command, error: float, speed: float) -> Source:
    """Torque of a joint that is commanded further than `error`, rad, and turns slower than `speed`, rad/s; Nm.

    Zero for one that moves or has arrived: a gripper that holds an object softly is no stall.
    """

    def measure(now_ns: int) -> Floats:
        moved, effort = np.abs(state.velocity), np.abs(state.torque)
        behind = np.abs(command() - state.position)
        known = np.isfinite(behind) & np.isfinite(moved) & np.isfinite(effort)
        return np.where(known, np.where((behind > error) & (moved < speed), effort, 0.0), np.nan)

    return measure
