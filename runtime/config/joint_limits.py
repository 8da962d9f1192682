"""Which limits each joint has in the end: its own, the monitor's, or the default."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.joint import Joint
from runtime.config.models import Control, Safety
from runtime.config.monitors import JointLimits, JointMonitor, Monitors

VELOCITY_FACTOR = 2.0
"""Commands never exceed `velocity_max`; the joint may for a moment, after a blow, but not as far as this."""
TORQUE_FACTOR = 1.5
"""`torque_max` is what the joint is meant to bear; for the moment of a shock, gears bear more."""
_WITH_DEFAULT = ("velocity", "torque", "joint_age")


def joint_limits(key: str, safety: Safety, control: Control, joints: Sequence[Joint]) -> dict[str, JointLimits]:
    """The limits that the joint monitor `key` has for each joint it watches, by joint, defaults included."""
    monitor: JointMonitor | None = getattr(safety.monitor or Monitors(), key)
    if monitor is None:
        if key not in _WITH_DEFAULT:
            return {}
        monitor = JointMonitor()
    limits = {}
    for joint in joints:
        if joint.name not in (monitor.only or [joint.name]) or (key == "torque_error" and joint.kp is None):
            continue
        own = monitor.joints.get(joint.name, JointLimits())
        warn = own.warn if own.warn is not None else monitor.warn
        stop = own.stop if own.stop is not None else monitor.stop
        if stop is None:
            stop = _default_stop(key, safety, control, joint)
        if warn is not None or stop is not None:
            limits[joint.name] = JointLimits(warn=warn, stop=stop)
    return limits


def _default_stop(key: str, safety: Safety, control: Control, joint: Joint) -> float | None:
    match key:
        case "velocity":
            return VELOCITY_FACTOR * joint.velocity_max
        case "torque":
            return TORQUE_FACTOR * joint.torque_max if joint.torque_max is not None else None
        case "joint_age":
            period_s = 1 / control.rate
            return 2 * control.missed_limit * period_s + safety.stall_s(period_s)
    return None
