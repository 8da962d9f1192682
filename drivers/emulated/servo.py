"""How stiff the emulated Dynamixel servos are: one table for the emulator and for training in its plant."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServoLaw:
    """Position servo at its own shaft: torque = clip(kp (goal - q) - kd dq, ±limit)."""

    kp: float
    """Stiffness, Nm/rad."""
    kd: float
    """Damping, Nms/rad."""
    limit: float
    """Stall torque at 12 V, Nm (the maker's data sheets); stiffness and damping are chosen, not measured."""


SERVOS: dict[str, ServoLaw] = {
    "XM430-W350": ServoLaw(kp=40.0, kd=1.2, limit=4.1),
    "XM540-W270": ServoLaw(kp=120.0, kd=4.0, limit=10.6),
    "XL430-W250": ServoLaw(kp=15.0, kd=0.5, limit=1.5),
}
