"""How far a configuration of the robot is from its borders and from itself, by forward kinematics."""

from __future__ import annotations

from collections.abc import Sequence
from math import hypot
from typing import Any

import mujoco

from drivers.joint import Joint
from safety.workspace.options import Box, Plane, Point, WorkspaceOptions
from safety.workspace.skeleton import load

RANGE = 0.2
"""Capsules that are further apart than this, m, count as this far apart."""

_Border = tuple[float, float, float, float]
"""Unit normal and offset of a half-space, m."""


class Kinematics:
    """Forward kinematics of the tool and of the robot's shape, in MuJoCo. A `safety.workspace.guard.Space`."""

    def __init__(self, options: WorkspaceOptions, joints: Sequence[Joint]) -> None:
        """`joints`: in the robot's order. Raises WorkspaceError with everything that the model lacks."""
        skeleton = load(options, joints, RANGE)
        self._model: Any = mujoco.MjModel.from_xml_string(skeleton.xml)
        self._data: Any = mujoco.MjData(self._model)
        self._qpos: Any = self._data.qpos
        self._order = [int(self._model.joint(i).name) for i in range(self._model.njnt)]
        """The robot's joint at each place of qpos."""
        self._tool: Any = self._data.site_xpos[0] if options.tool is not None else None
        self._borders = [_border(plane) for plane in (*options.planes, *_faces(options.box))]
        self._compares = bool(skeleton.pairs)
        self.margin = options.margin
        self.reach = skeleton.reach

    def clearances(self, angles: Sequence[float]) -> tuple[list[float], float]:
        """Of the configuration `angles` (rad, in the robot's order): the tool's distance from each border, and the
        smallest one between two capsules, at most RANGE; m, negative when it is crossed."""
        self._qpos[:] = [angles[i] for i in self._order]
        mujoco.mj_kinematics(self._model, self._data)
        borders: list[float] = []
        if self._tool is not None:
            x, y, z = self._tool.tolist()
            borders = [a * x + b * y + c * z - offset for a, b, c, offset in self._borders]
        nearest = RANGE
        if self._compares:
            mujoco.mj_collision(self._model, self._data)
            if self._data.ncon:
                nearest = float(self._data.contact.dist.min())
        return borders, nearest


def _border(plane: Plane) -> _Border:
    length = hypot(*plane.normal)
    x, y, z = plane.normal
    return x / length, y / length, z / length, plane.offset


def _faces(box: Box | None) -> list[Plane]:
    if box is None:
        return []
    units: tuple[Point, ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    lower = [Plane(normal=unit, offset=low) for unit, low in zip(units, box.min, strict=True)]
    upper = [Plane(normal=(-x, -y, -z), offset=-high) for (x, y, z), high in zip(units, box.max, strict=True)]
    return lower + upper
