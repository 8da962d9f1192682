"""What a config says about the workspace and the robot's own shape."""

from __future__ import annotations

from math import hypot
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from drivers.joint import Options

Point = tuple[float, float, float]


class Box(Options):
    """A box along the axes of the world frame that the tool may not leave."""

    min: Point
    """Lowest corner, m."""
    max: Point
    """Highest corner, m."""

    @model_validator(mode="after")
    def _is_not_empty(self) -> Box:
        if any(low >= high for low, high in zip(self.min, self.max, strict=True)):
            raise ValueError(f"min {list(self.min)} is not below max {list(self.max)} on each axis; correct one")
        return self


class Plane(Options):
    """A plane that the tool has to stay above, such as a table top."""

    normal: Point
    """Direction towards the allowed side, of any length but 0."""
    offset: float
    """Distance of the plane from the origin, along the normal, m."""

    @model_validator(mode="after")
    def _has_a_direction(self) -> Plane:
        if hypot(*self.normal) < 1e-6:
            raise ValueError(f"normal {list(self.normal)} has no direction; [0.0, 0.0, 1.0] points up")
        return self


class Capsule(Options):
    """A part of the robot's shape: all points that are closer to a line than a radius. Capsules of `world` stand
    still. Two capsules of the same body, or of bodies that one joint links, are never compared."""

    body: str
    """Body of the model that carries it."""
    start: Point
    """One end of the line in the body's frame, m."""
    end: Point | None = None
    """The other end, m. Left out: the capsule is a sphere."""
    radius: float = Field(gt=0, le=10)
    """Radius, m."""


class WorkspaceOptions(Options):
    """Where the tool may be, and the shape of the robot, which may not run into itself. Needs the extra `model`. A
    command after which the robot could not stop in time is not taken: all joints brake. Left out: not watched."""

    model: Path
    """MJCF or URDF of the robot; its joints are named like the robot's, or with `_joint` added. Joints that the
    robot does not have stay where the model has them."""
    tool: str | None = None
    """The point that has to stay in `box` and above `planes`: a site of the model, or the origin of a body."""
    box: Box | None = None
    """The box, in the model's world frame."""
    planes: tuple[Plane, ...] = ()
    """The planes, in the model's world frame."""
    capsule: tuple[Capsule, ...] = ()
    """The robot's shape."""
    ignore: tuple[tuple[str, str], ...] = ()
    """Pairs of bodies that are not compared either: `[["hand", "camera"]]`."""
    margin: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Distance to keep from the borders, and between capsules, m. A smaller one costs more time near them."""

    @model_validator(mode="after")
    def _watches_something(self) -> WorkspaceOptions:
        borders = self.box is not None or bool(self.planes)
        if borders != (self.tool is not None):
            missing = "tool, the point that has to stay there" if borders else "box or planes for the tool"
            raise ValueError(f"found no {missing}; add it")
        if not borders and len(self.capsule) < 2:
            raise ValueError("found neither a tool with box or planes nor two capsules; nothing would be watched")
        return self
