"""Draws convex bodies with filled polygons: tessellation, projection, shading and the order of painting."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Colour = tuple[int, int, int]

NEAR = 0.02  # m; nothing nearer to the camera is drawn
LIGHT = np.array([-0.35, -0.45, 0.82]) / math.hypot(0.35, 0.45, 0.82)
_ROUND = 16  # corners of a circle
_TOUCH = 1e-4  # m; bodies that overlap less than this count as apart


@dataclass(frozen=True, slots=True)
class Solid:
    """A convex polyhedron in its own frame."""

    vertices: Floats
    """Shape (v, 3), m."""
    faces: tuple[NDArray[np.intp], ...]
    """Indices of each face's corners."""
    normals: Floats
    """Outward unit normals, shape (faces, 3)."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera."""

    position: Floats
    """Shape (3,), m."""
    axes: Floats
    """Rows: right, up, forward; shape (3, 3)."""
    focal: float
    """Focal length in pixels."""
    centre: tuple[float, float]
    """Principal point in pixels."""

    def see(self, points: Floats) -> Floats:
        """Points in the camera's frame: right, up, depth; shape (n, 3)."""
        return np.asarray((points - self.position) @ self.axes.T)

    def project(self, seen: Floats) -> Floats:
        """Pixels of points in the camera's frame whose depth is at least NEAR, shape (n, 2)."""
        scale = self.focal / seen[:, 2]
        return np.stack(
            (self.centre[0] + seen[:, 0] * scale, self.centre[1] - seen[:, 1] * scale),
            axis=1,
        )


@dataclass(slots=True)
class Body:
    """A solid at its place, as one camera sees it."""

    vertices: Floats
    normals: Floats
    solid: Solid
    colour: Floats
    pixels: Floats
    depth: float
    levels: Floats
    """Height of each face's plane along its normal, shape (faces,)."""
    facing: NDArray[np.bool_]
    """Faces turned to the camera."""
    after: list[int] = field(default_factory=list)
    """Bodies to be painted later."""


def box(half: Sequence[float]) -> Solid:
    """A box of these half lengths."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.asarray(half)[:3]
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return _solid(corners, quads)


def lathe(profile: Sequence[tuple[float, float]]) -> Solid:
    """A solid of revolution about z. `profile`: (radius, z) from bottom to top, convex."""
    angles = np.arange(_ROUND) * 2 * math.pi / _ROUND
    circle = np.stack((np.cos(angles), np.sin(angles)), axis=1)
    rings = [
        np.column_stack((circle * radius, np.full(_ROUND, height))) for radius, height in profile if radius > 0
    ]
    faces: list[tuple[int, ...]] = []
    for ring in range(len(rings) - 1):
        low, high = ring * _ROUND, (ring + 1) * _ROUND
        for i in range(_ROUND):
            k = (i + 1) % _ROUND
            faces.append((low + i, low + k, high + k, high + i))
    top = (len(rings) - 1) * _ROUND
    faces.append(tuple(range(_ROUND - 1, -1, -1)))
    faces.append(tuple(range(top, top + _ROUND)))
    return _solid(np.concatenate(rings), faces)


def cylinder(radius: float, half_length: float) -> Solid:
    """A cylinder along z."""
    return lathe([(radius, -half_length), (radius, half_length)])


def capsule(radius: float, half_length: float) -> Solid:
    """A capsule along z; `half_length` without its caps."""
    arc = [(math.cos(a), math.sin(a)) for a in (math.radians(d) for d in (15, 45, 75))]
    bottom = [(radius * c, -half_length - radius * s) for c, s in reversed(arc)]
    top = [(radius * c, half_length + radius * s) for c, s in arc]
    return lathe([*bottom, *top])


def ellipsoid(half: Sequence[float]) -> Solid:
    """An ellipsoid of these half axes."""
    arc = [math.radians(d) for d in (-75, -45, -15, 15, 45, 75)]
    ball = lathe([(math.cos(a), math.sin(a)) for a in arc])
    return _solid(ball.vertices * np.asarray(half)[:3], [tuple(face) for face in ball.faces])


def _solid(vertices: Floats, faces: Sequence[Sequence[int]]) -> Solid:
    indices = tuple(np.asarray(face, np.intp) for face in faces)
    normals = []
    for face in indices:
        corners = vertices[face]
        normal = np.cross(corners, np.roll(corners, -1, axis=0)).sum(axis=0)
        normals.append(normal / (np.linalg.norm(normal) or 1.0))
    return Solid(vertices, indices, np.array(normals))


def place(solid: Solid, position: Floats, rotation: Floats, colour: Floats, camera: Camera) -> Body | None:
    """The solid at a pose, as the camera sees it; None when a part of it is behind the camera."""
    vertices = solid.vertices @ rotation.T + position
    seen = camera.see(vertices)
    if seen[:, 2].min() < NEAR:
        return None
    normals = solid.normals @ rotation.T
    anchors = vertices[[face[0] for face in solid.faces]]
    levels = np.einsum("ij,ij->i", normals, anchors)
    facing = normals @ camera.position > levels
    depth = float(seen[:, 2].mean())
    return Body(vertices, normals, solid, colour, camera.project(seen), depth, levels, facing)


def paint(draw: Any, bodies: Sequence[Body], camera: Camera) -> None:
    """Draw all bodies, the hidden ones first. `draw`: a PIL ImageDraw."""
    for number in painting_order(bodies):
        body = bodies[number]
        for index in np.flatnonzero(body.facing):
            normal = body.normals[index]
            corners = body.pixels[body.solid.faces[index]]
            draw.polygon([*map(tuple, corners.tolist())], fill=shade(body.colour, normal, camera.axes[2]))


def shade(colour: Floats, normal: Floats, forward: Floats) -> Colour:
    """Colour (0 to 1, shape (3,)) of a matt face under a lamp and a light at the camera, as 8-bit RGB."""
    strength = 0.48 + 0.42 * max(0.0, float(normal @ LIGHT)) + 0.18 * max(0.0, -float(normal @ forward))
    red, green, blue = (min(255, round(255 * strength * part)) for part in colour.tolist())
    return red, green, blue


def painting_order(bodies: Sequence[Body]) -> list[int]:
    """Indices of the bodies such that no body is painted before one that it hides (painter's algorithm).

    A plane between two convex bodies decides: the one on the camera's side may hide the other. Where no face
    gives such a plane, or where three bodies hide each other in a ring, the farther one comes first.
    """
    low = np.array([body.pixels.min(axis=0) for body in bodies]).reshape(-1, 2)
    high = np.array([body.pixels.max(axis=0) for body in bodies]).reshape(-1, 2)
    overlap = (low[:, None] < high[None]).all(axis=2)
    overlap &= overlap.T
    waits = [0] * len(bodies)
    for body in bodies:
        body.after.clear()
    for i, k in np.argwhere(np.triu(overlap, 1)).tolist():
        first, later = (i, k) if _hides(bodies[k], bodies[i]) else (k, i)
        bodies[first].after.append(later)
        waits[later] += 1
    order: list[int] = []
    free = [(-body.depth, i) for i, body in enumerate(bodies) if not waits[i]]
    heapq.heapify(free)
    left = set(range(len(bodies)))
    while left:
        number = heapq.heappop(free)[1] if free else min(left, key=lambda i: (waits[i], -bodies[i].depth))
        if number not in left:
            continue
        left.discard(number)
        order.append(number)
        for later in bodies[number].after:
            waits[later] -= 1
            if not waits[later] and later in left:
                heapq.heappush(free, (-bodies[later].depth, later))
    return order


def _hides(a: Body, b: Body) -> bool:
    """Whether `a` may hide a part of `b`, and is to be painted after it."""
    beyond = (b.vertices @ a.normals.T).min(axis=0) >= a.levels - _TOUCH
    if beyond.any():
        return not bool(a.facing[beyond].any())
    beyond = (a.vertices @ b.normals.T).min(axis=0) >= b.levels - _TOUCH
    if beyond.any():
        return bool(b.facing[beyond].any())
    return a.depth < b.depth


def clip_near(seen: Floats) -> Floats:
    """The part of a convex polygon (camera frame, shape (n, 3)) that is at least NEAR away."""
    kept: list[Floats] = []
    for start, end in zip(seen, np.roll(seen, -1, axis=0), strict=True):
        if start[2] >= NEAR:
            kept.append(start)
        if (start[2] >= NEAR) != (end[2] >= NEAR):
            kept.append(start + (end - start) * ((NEAR - start[2]) / (end[2] - start[2])))
    return np.array(kept).reshape(-1, 3)


def hull(points: Floats) -> Floats:
    """Convex hull of points in a plane, shape (n, 2) (Andrew's monotone chain)."""
    ordered = sorted(map(tuple, points.tolist()))

    def half(chain: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
        kept: list[tuple[float, ...]] = []
        for x, y in chain:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2], kept[-1]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return np.array(half(ordered) + half(ordered[::-1])).reshape(-1, 2)
