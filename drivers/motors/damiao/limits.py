"""What the Damiao models can do: the full scales of their frames.

Every value in a frame is a fraction of these, so a wrong figure is a wrong torque: the driver reads the motor's
own figures (parameters 21 to 23) and uses a motor only when they are ones that are known for its model.
Makers of host software disagree on some models; both figures are known then.
Sources: cmjang/DM_Control_Python, enactic/openarm_can, huggingface/lerobot, jia-xie/python-damiao-driver.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Full scale of position, speed and torque at the motor's own output; each runs from -limit to +limit."""

    position: float
    """PMAX, rad."""
    velocity: float
    """VMAX, rad/s."""
    torque: float
    """TMAX, Nm."""

    def matches(self, other: Limits) -> bool:
        """Equal but for what single-precision numbers lose."""
        return (
            math.isclose(self.position, other.position, rel_tol=1e-4)
            and math.isclose(self.velocity, other.velocity, rel_tol=1e-4)
            and math.isclose(self.torque, other.torque, rel_tol=1e-4)
        )

    def __str__(self) -> str:
        return f"PMAX {self.position:.6g} rad, VMAX {self.velocity:.6g} rad/s, TMAX {self.torque:.6g} Nm"


KP_MAX = 500.0
"""Full scale of the stiffness in a MIT frame, Nm/rad, all models."""
KD_MAX = 5.0
"""Full scale of the damping in a MIT frame, Nms/rad, all models."""

MODELS: dict[str, tuple[Limits, ...]] = {
    "DM3507": (Limits(12.5, 30, 10), Limits(12.5, 50, 5), Limits(12.566, 50, 5)),
    "DM4310": (Limits(12.5, 30, 10),),
    "DM4310-48V": (Limits(12.5, 50, 10),),
    "DM4340": (Limits(12.5, 8, 28), Limits(12.5, 10, 28)),
    "DM4340-48V": (Limits(12.5, 10, 28),),
    "DM6006": (Limits(12.5, 45, 20),),
    "DM8006": (Limits(12.5, 45, 40),),
    "DM8009": (Limits(12.5, 45, 54),),
    "DM10010": (Limits(12.5, 20, 200),),
    "DM10010L": (Limits(12.5, 25, 200),),
    "DMH3510": (Limits(12.5, 280, 1),),
    "DMH6215": (Limits(12.5, 45, 10),),
    "DMG6220": (Limits(12.5, 45, 10),),
}
"""Known full scales of each model, the usual one first."""


def least(model: str) -> Limits:
    """The smallest of each figure known for a model: what can be promised before the motor was asked."""
    known = MODELS[model]
    return Limits(
        min(limits.position for limits in known),
        min(limits.velocity for limits in known),
        min(limits.torque for limits in known),
    )
