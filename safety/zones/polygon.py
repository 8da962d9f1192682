"""Where a point lies in a plane: inside a polygon or outside, and how far from its border."""

from __future__ import annotations

import math
from collections.abc import Sequence

FAR = 1e9
"""A coordinate from here on, m, is no place on earth."""
SIDE_MIN = 1e-3
"""Shortest side of a polygon, m: divisions by its length stay far from overflow."""


class Polygon:
    """A simple polygon: no two sides cross. Vertices in order, either way round; the last joins the first."""

    def __init__(self, vertices: Sequence[tuple[float, float]]) -> None:
        """`vertices`: x, y, m; at least three. What is wrong with them tells `flaw`."""
        self._sides = list(zip(vertices, [*vertices[1:], vertices[0]], strict=True))

    def depth(self, x: float, y: float) -> float:
        """Distance from the border, m: positive inside, negative outside. NaN for what is no place."""
        if not (abs(x) < FAR and abs(y) < FAR):
            return math.nan
        nearest, inside = math.inf, False
        for (ax, ay), (bx, by) in self._sides:
            side_x, side_y, to_x, to_y = bx - ax, by - ay, x - ax, y - ay
            along = (to_x * side_x + to_y * side_y) / (side_x * side_x + side_y * side_y)
            along = 0.0 if along < 0.0 else 1.0 if along > 1.0 else along
            nearest = min(nearest, (to_x - along * side_x) ** 2 + (to_y - along * side_y) ** 2)
            # Even-odd rule: a ray towards positive x crosses the border an odd number of times from inside.
            if (ay > y) != (by > y) and (to_x * side_y < to_y * side_x) == (side_y > 0):
                inside = not inside
        return math.sqrt(nearest) if inside else -math.sqrt(nearest)


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
