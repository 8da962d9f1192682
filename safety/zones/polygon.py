"""Where a point lies in a plane: inside a polygon or outside, and how far from its border."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from drivers.state import Floats

FAR = 1e9
"""A coordinate from here on, m, is no place on earth."""
SIDE_MIN = 1e-3
"""Shortest side of a polygon, m: divisions by its length stay far from overflow."""


class Polygon:
    """A simple polygon: no two sides cross. Vertices in order, either way round; the last joins the first."""

    def __init__(self, vertices: Sequence[tuple[float, float]]) -> None:
        """`vertices`: x, y, m; at least three. What is wrong with them tells `flaw`."""
        start: Floats = np.array(vertices, np.float64)
        side = np.roll(start, -1, axis=0) - start
        self._x, self._y = start.T
        self._dx, self._dy = side.T
        self._end_y = np.roll(self._y, -1)  # not y + dy, which is rounded: a side ends where the next one begins
        self._up = self._dy > 0
        self._square = self._dx**2 + self._dy**2

    def depth(self, x: float, y: float) -> float:
        """Distance from the border, m: positive inside, negative outside. NaN for what is no place."""
        if not (abs(x) < FAR and abs(y) < FAR):
            return math.nan
        to_x, to_y = x - self._x, y - self._y
        along = np.clip((to_x * self._dx + to_y * self._dy) / self._square, 0.0, 1.0)
        square = (to_x - along * self._dx) ** 2 + (to_y - along * self._dy) ** 2
        distance = math.sqrt(square.min())
        # Even-odd rule: a ray from the point towards positive x crosses the border an odd number of times.
        crosses = (self._y > y) != (self._end_y > y)
        ahead = (to_x * self._dy < to_y * self._dx) == self._up
        return distance if np.count_nonzero(crosses & ahead) % 2 else -distance


def flaw(vertices: Sequence[tuple[float, float]]) -> str:
    """Why these vertices make no simple polygon; empty when they do."""
    count = len(vertices)
    if count < 3:
        return f"found {count} vertices, expected at least 3"
    for number, vertex in enumerate(vertices):
        if math.dist(vertex, vertices[(number + 1) % count]) < SIDE_MIN:
            return f"found a side at {list(vertex)} that is shorter than {SIDE_MIN:g} m"
    sides = [(vertices[number], vertices[(number + 1) % count]) for number in range(count)]
    for one in range(count):
        for other in range(one + 1, count):
            neighbours = other == one + 1 or (one == 0 and other == count - 1)
            if _meet(*sides[one], *sides[other], neighbours):
                return f"found sides {one} and {other} (from 0) that cross or touch"
    return ""


_Point = tuple[float, float]


def _meet(a: _Point, b: _Point, c: _Point, d: _Point, neighbours: bool) -> bool:
    """Whether two sides have a point in common, besides the vertex that neighbours share."""
    if neighbours:
        shared, ends = (b, (a, d)) if b == c else (a, (b, c))
        one, other = ((end[0] - shared[0], end[1] - shared[1]) for end in ends)
        level = one[0] * other[1] - one[1] * other[0] == 0
        return level and one[0] * other[0] + one[1] * other[1] > 0  # one goes back on the other
    turns = _turn(a, b, c), _turn(a, b, d), _turn(c, d, a), _turn(c, d, b)
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    points = ((a, b, c), (a, b, d), (c, d, a), (c, d, b))
    return any(turn == 0 and _between(*three) for turn, three in zip(turns, points, strict=True))


def _turn(a: _Point, b: _Point, c: _Point) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _between(a: _Point, b: _Point, c: _Point) -> bool:
    """Whether a point on the line a b lies between its ends."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])
