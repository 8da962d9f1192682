"""Draws what an emulated robot did as an animated GIF: no display, no GPU, no video tools."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from drivers.emulated.painter import (
    LIGHT,
    NEAR,
    Camera,
    Solid,
    box,
    capsule,
    clip_near,
    cylinder,
    ellipsoid,
    hull,
    paint,
    place,
)
from drivers.emulated.trajectory import load

Floats = NDArray[np.float64]

_OVERSAMPLE = 2  # drawn larger and reduced, so that edges are smooth
_SKY = (232, 238, 246)
_TILES = ((214, 217, 221), (203, 207, 212))
_SHADOW = (176, 180, 187)
_INK = (60, 64, 72)
_TILES_EACH_WAY = 14
_COLLISION_GROUP = 3  # MuJoCo's viewers hide geoms of this group and above


@dataclass(frozen=True, slots=True)
class View:
    """Where to look from. What is None comes from the model: its camera `view`, else its free camera."""

    camera: str | None = None
    """A camera of the model."""
    azimuth: float | None = None
    """Free camera: direction of view about z, degrees, as in MuJoCo."""
    elevation: float | None = None
    """Free camera: direction of view above the horizon, degrees; negative looks down."""
    distance: float | None = None
    """Free camera: distance from the point that it looks at, m; default 1.6 times the model's extent."""
    lookat: tuple[float, float, float] | None = None
    """Free camera: point to look at, m; default the model's centre, or the robot where it roams about."""


class Painting:
    """A model that can be drawn."""

    def __init__(self, model: Any, view: View, size: tuple[int, int]) -> None:
        """`size`: width and height of a picture in pixels. Raises ValueError for an unknown camera."""
        self._model = model
        self._data = mujoco.MjData(model)
        self._view = view
        self._size = size
        self._camera_id = _camera_id(model, view)
        self._root = _roaming_root(model)
        types = model.geom_type
        shown = [i for i in range(model.ngeom) if model.geom_rgba[i, 3] > 0 and types[i] != _PLANE]
        visible = [i for i in shown if model.geom_group[i] < _COLLISION_GROUP]
        self._solids = {i: solid for i in visible or shown if (solid := _solid(model, i)) is not None}
        self._floor = next((i for i in range(model.ngeom) if types[i] == _PLANE), None)

    def frame(self, qpos: Floats, caption: str = "") -> Image.Image:
        """One picture of the configuration `qpos`, shape (nq,)."""
        model, data = self._model, self._data
        data.qpos[:] = qpos
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        mujoco.mj_camlight(model, data)
        width, height = (side * _OVERSAMPLE for side in self._size)
        image = Image.new("RGB", (width, height), _SKY)
        draw = ImageDraw.Draw(image)
        camera = self._camera(width, height)
        self._draw_floor(draw, camera)
        bodies = []
        for i, solid in self._solids.items():
            rotation = data.geom_xmat[i].reshape(3, 3)
            body = place(solid, data.geom_xpos[i], rotation, _colour(model, i), camera)
            if body is not None:
                bodies.append(body)
        if self._floor is not None:
            level = float(data.geom_xpos[self._floor][2])
            for body in bodies:
                _draw_shadow(draw, body.vertices, level, camera)
        paint(draw, bodies, camera)
        image = image.reduce(_OVERSAMPLE)
        if caption:
            ImageDraw.Draw(image).text((8, self._size[1] - 18), caption, fill=_INK)
        return image

    def _camera(self, width: int, height: int) -> Camera:
        model, data, view = self._model, self._data, self._view
        centre = (width / 2, height / 2)
        if self._camera_id is not None:
            matrix = data.cam_xmat[self._camera_id].reshape(3, 3)
            axes = np.stack((matrix[:, 0], matrix[:, 1], -matrix[:, 2]))
            focal = height / 2 / math.tan(math.radians(model.cam_fovy[self._camera_id]) / 2)
            return Camera(data.cam_xpos[self._camera_id].copy(), axes, focal, centre)
        azimuth = math.radians(model.vis.global_.azimuth if view.azimuth is None else view.azimuth)
        elevation = math.radians(model.vis.global_.elevation if view.elevation is None else view.elevation)
        distance = 1.6 * model.stat.extent if view.distance is None else view.distance
        lookat = np.array(model.stat.center if view.lookat is None else view.lookat)
        if self._root is not None and view.lookat is None:
            lookat[:2] = data.xpos[self._root][:2]
        level = math.cos(elevation)
        forward = np.array([level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation)])
        right = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
        axes = np.stack((right, np.cross(right, forward), forward))
        focal = height / 2 / math.tan(math.radians(model.vis.global_.fovy) / 2)
        return Camera(lookat - distance * forward, axes, focal, centre)

    def _draw_floor(self, draw: ImageDraw.ImageDraw, camera: Camera) -> None:
        if self._floor is None:
            return
        level = float(self._data.geom_xpos[self._floor][2])
        tile = _tile_size(self._model.stat.extent)
        ahead = camera.position + camera.axes[2] * max(0.5, 2.0 * abs(camera.position[2] - level))
        middle = np.floor(ahead[:2] / tile).astype(int)
        for row in range(middle[0] - _TILES_EACH_WAY, middle[0] + _TILES_EACH_WAY):
            for column in range(middle[1] - _TILES_EACH_WAY, middle[1] + _TILES_EACH_WAY):
                x, y = row * tile, column * tile
                corners = np.array(
                    [[x, y, level], [x + tile, y, level], [x + tile, y + tile, level], [x, y + tile, level]]
                )
                _draw_polygon(draw, corners, camera, _TILES[(row + column) % 2])


def render(
    model_path: Path,
    trajectory_path: Path,
    out_path: Path,
    fps: int = 10,
    size: tuple[int, int] = (480, 360),
    view: View | None = None,
) -> int:
    """Draw a trajectory (npz of `times` and `qpos`) of a model as an animated GIF; the number of its pictures.

    Raises ValueError when the trajectory is empty or belongs to another model, OSError for a missing file.
    """
    model: Any = mujoco.MjModel.from_xml_path(str(model_path))
    times, qpos = load(trajectory_path)
    if len(times) == 0:
        raise ValueError(f"{trajectory_path} holds no snapshot; let the robot run before it is drawn")
    if qpos.shape[1] != model.nq:
        raise ValueError(
            f"{trajectory_path} has {qpos.shape[1]} coordinates, {model_path} has {model.nq}; "
            "they do not belong together"
        )
    painting = Painting(model, view or View(), size)
    pictures = _pictures(painting, times, qpos, fps)
    first = next(pictures)
    # GIF times are multiples of 10 ms.
    duration = max(20, round(100 / fps) * 10)
    first.save(
        out_path,
        "GIF",
        save_all=True,
        append_images=pictures,
        duration=duration,
        loop=0,
        optimize=False,
    )
    return _count(times, fps)


def _pictures(painting: Painting, times: Floats, qpos: Floats, fps: int) -> Iterator[Image.Image]:
    palette: Image.Image | None = None
    for number in range(_count(times, fps)):
        seconds = number / fps
        place_ = int(np.searchsorted(times, seconds + 1e-6, side="right")) - 1
        picture = painting.frame(qpos[max(place_, 0)], f"{seconds:.1f} s")
        if palette is None:
            palette = picture.quantize(255, Image.Quantize.MEDIANCUT)
        yield picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _count(times: Floats, fps: int) -> int:
    return int(times[-1] * fps + 1e-6) + 1


_PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)


def _solid(model: Any, geom: int) -> Solid | None:
    kind, size = int(model.geom_type[geom]), model.geom_size[geom]
    shapes = mujoco.mjtGeom
    if kind == shapes.mjGEOM_BOX:
        return box(size)
    if kind == shapes.mjGEOM_SPHERE:
        return ellipsoid((size[0], size[0], size[0]))
    if kind == shapes.mjGEOM_ELLIPSOID:
        return ellipsoid(size)
    if kind == shapes.mjGEOM_CAPSULE:
        return capsule(float(size[0]), float(size[1]))
    if kind == shapes.mjGEOM_CYLINDER:
        return cylinder(float(size[0]), float(size[1]))
    if kind == shapes.mjGEOM_MESH:
        middle, half = model.geom_aabb[geom][:3], model.geom_aabb[geom][3:]
        hull_box = box(half)  # a mesh is drawn as the box around it
        return replace(hull_box, vertices=hull_box.vertices + middle)
    return None


def _colour(model: Any, geom: int) -> Floats:
    rgba = model.geom_rgba[geom]
    material = int(model.geom_matid[geom])
    # As MuJoCo: a material counts unless the geom has a colour of its own.
    if material >= 0 and np.allclose(rgba, (0.5, 0.5, 0.5, 1.0)):
        rgba = model.mat_rgba[material]
    return np.asarray(rgba[:3], np.float64)


def _camera_id(model: Any, view: View) -> int | None:
    free = (view.azimuth, view.elevation, view.distance, view.lookat)
    name = view.camera or ("view" if all(value is None for value in free) else "")
    number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name) if name else -1
    if number < 0 and view.camera is not None:
        known = ", ".join(model.camera(i).name for i in range(model.ncam)) or "none"
        raise ValueError(f"the model has no camera {view.camera!r}; it has: {known}")
    return int(number) if number >= 0 else None


def _roaming_root(model: Any) -> int | None:
    """The floating base of the tree that the first actuator moves, if it has one."""
    if not model.nu or model.actuator_trntype[0] != mujoco.mjtTrn.mjTRN_JOINT:
        return None
    root = int(model.body_rootid[model.jnt_bodyid[model.actuator_trnid[0, 0]]])
    joint = int(model.body_jntadr[root])
    if joint >= 0 and model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_FREE:
        return root
    return None


def _tile_size(extent: float) -> float:
    return float(10.0 ** math.floor(math.log10(max(extent, 1e-3))) * 2)


def _draw_shadow(draw: ImageDraw.ImageDraw, vertices: Floats, level: float, camera: Camera) -> None:
    height = vertices[:, 2] - level
    if height.max() <= 0:
        return
    ground = vertices[:, :2] - LIGHT[:2] / LIGHT[2] * np.maximum(height, 0.0)[:, None]
    outline = hull(ground)
    _draw_polygon(draw, np.column_stack((outline, np.full(len(outline), level))), camera, _SHADOW)


def _draw_polygon(
    draw: ImageDraw.ImageDraw, corners: Floats, camera: Camera, colour: tuple[int, int, int]
) -> None:
    seen = camera.see(corners)
    if seen[:, 2].min() < NEAR:
        seen = clip_near(seen)
    if len(seen) > 2:
        draw.polygon([*map(tuple, camera.project(seen).tolist())], fill=colour)
