from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from safety.zones.polygon import Polygon, flaw

SQUARE = [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (0.0, 4.0)]
L_SHAPE = [(0.0, 0.0), (4.0, 0.0), (4.0, 1.0), (1.0, 1.0), (1.0, 4.0), (0.0, 4.0)]


@pytest.mark.parametrize(
    ("vertices", "point", "depth"),
    [
        (SQUARE, (2.0, 2.0), 2.0),
        (SQUARE, (1.0, 3.5), 0.5),
        (SQUARE, (5.0, 2.0), -1.0),
        (SQUARE, (7.0, 8.0), -5.0),  # from the corner
        (SQUARE, (-1.0, 0.0), -1.0),  # the ray runs along a side
        (SQUARE, (-3.0, 4.0), -3.0),
        (SQUARE, (0.0, 2.0), 0.0),
        (SQUARE, (4.0, 4.0), 0.0),
        (L_SHAPE, (0.5, 3.0), 0.5),
        (L_SHAPE, (2.0, 2.0), -1.0),
        (L_SHAPE, (-1.0, 1.0), -1.0),  # the ray runs through a vertex and a side
        (L_SHAPE, (0.9, 0.9), math.hypot(0.1, 0.1)),
    ],
)
def test_depth(vertices: Any, point: tuple[float, float], depth: float) -> None:
    for order in (vertices, vertices[::-1], vertices[2:] + vertices[:2]):
        assert Polygon(order).depth(*point) == pytest.approx(depth)


@pytest.mark.parametrize(
    "point",
    [(math.nan, 0.0), (0.0, math.nan), (math.inf, 0.0), (0.0, -math.inf), (1e300, 0.0), (1e9, 0.0), (0.0, -1e9)],
)
def test_a_point_that_is_not_known_is_nowhere(point: tuple[float, float]) -> None:
    assert math.isnan(Polygon(SQUARE).depth(*point))


@st.composite
def stars(draw: Any) -> list[tuple[float, float]]:
    """Polygons of which every vertex is seen from the origin: their inside is known without `Polygon`."""
    count = draw(st.integers(3, 12))
    turns = draw(st.lists(st.floats(0.0, 0.3), min_size=count, max_size=count))
    radii = draw(st.lists(st.floats(0.5, 5.0), min_size=count, max_size=count))
    angles = [2 * math.pi * (number + turn) / count for number, turn in enumerate(turns)]
    return [(radius * math.cos(a), radius * math.sin(a)) for radius, a in zip(radii, angles, strict=True)]


points = st.tuples(st.floats(-6, 6), st.floats(-6, 6))


def side(a: tuple[float, float], b: tuple[float, float], p: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])


def in_a_triangle(vertices: list[tuple[float, float]], point: tuple[float, float]) -> bool:
    """Whether the point lies in a triangle of the origin and a side."""
    origin = (0.0, 0.0)
    return any(
        min(side(origin, a, point), side(a, b, point), side(b, origin, point)) >= 0
        for a, b in zip(vertices, vertices[1:] + vertices[:1], strict=True)
    )


@given(stars(), points)
def test_inside_is_where_a_triangle_of_the_star_is(
    vertices: list[tuple[float, float]], point: tuple[float, float]
) -> None:
    depth = Polygon(vertices).depth(*point)
    assume(abs(depth) > 1e-9)
    assert (depth > 0) == in_a_triangle(vertices, point)


@given(stars(), points)
def test_the_depth_is_the_distance_to_the_nearest_point_of_the_border(
    vertices: list[tuple[float, float]], point: tuple[float, float]
) -> None:
    distance = abs(Polygon(vertices).depth(*point))
    pieces, longest, nearest = 200, 0.0, math.inf
    for (ax, ay), (bx, by) in zip(vertices, vertices[1:] + vertices[:1], strict=True):
        longest = max(longest, math.dist((ax, ay), (bx, by)))
        for piece in range(pieces):
            on_side = (ax + (bx - ax) * piece / pieces, ay + (by - ay) * piece / pieces)
            nearest = min(nearest, math.dist(on_side, point))
    assert nearest - longest / pieces - 1e-9 <= distance <= nearest + 1e-9


@given(stars(), points, st.floats(-math.pi, math.pi), points)
def test_it_does_not_matter_where_the_frame_lies(
    vertices: list[tuple[float, float]], point: tuple[float, float], turn: float, shift: tuple[float, float]
) -> None:
    def moved(place: tuple[float, float]) -> tuple[float, float]:
        x, y = place
        cos, sin = math.cos(turn), math.sin(turn)
        return x * cos - y * sin + shift[0], x * sin + y * cos + shift[1]

    depth = Polygon(vertices).depth(*point)
    assume(abs(depth) > 1e-6)
    assert Polygon([moved(vertex) for vertex in vertices]).depth(*moved(point)) == pytest.approx(depth, abs=1e-9)


@given(stars())
def test_a_star_has_no_flaw(vertices: list[tuple[float, float]]) -> None:
    assert flaw(vertices) == ""
    assert flaw(vertices[::-1]) == ""


@pytest.mark.parametrize(
    ("vertices", "text"),
    [
        (SQUARE[:2], "found 2 vertices, expected at least 3"),
        ([*SQUARE[:2], *SQUARE[1:]], "found a side at [4.0, 0.0] that is shorter than 0.001 m"),
        ([*SQUARE, (0.0, 4.0 - 1e-6)], "found a side at [0.0, 4.0] that is shorter than 0.001 m"),
        ([SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]], "found sides 0 and 2 (from 0) that cross or touch"),
        ([(0.0, 0.0), (4.0, 0.0), (2.0, 0.0)], "found sides 0 and 1 (from 0) that cross or touch"),
        (  # a vertex on another side
            [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (2.0, 0.0), (0.0, 4.0)],
            "found sides 0 and 2 (from 0) that cross or touch",
        ),
        (  # a side on another one
            [(0.0, 0.0), (4.0, 0.0), (4.0, 2.0), (3.0, 0.0), (1.0, 0.0), (0.0, 2.0)],
            "found sides 0 and 2 (from 0) that cross or touch",
        ),
    ],
)
def test_flaws(vertices: Any, text: str) -> None:
    assert flaw(vertices) == text


def in_other_frames(vertices: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The polygon small, far away, mirrored, with its axes exchanged, from every vertex and both ways round."""
    frames = [
        [(x / 16, y / 16) for x, y in vertices],
        [(x + 32, y - 64) for x, y in vertices],
        [(-x, y) for x, y in vertices],
        [(x, -y) for x, y in vertices],
        [(y, x) for x, y in vertices],
        [(-y, x) for x, y in vertices],
    ]
    turned = [each[number:] + each[:number] for each in [vertices, *frames] for number in range(len(vertices))]
    return turned + [each[::-1] for each in turned]


@pytest.mark.parametrize(
    "vertices",
    [
        SQUARE,
        L_SHAPE,
        [(0.0, 0.0), (4.0, 1.0), (4.0, -1.0)],
        [(0.0, 0.0), (2.0, 0.0), (4.0, 0.0), (4.0, 4.0)],  # straight on at a vertex
        # Two sides on one line, one beside the other, and two that would meet if they were longer.
        [(0.0, 0.0), (4.0, 0.0), (4.0, 2.0), (3.0, 2.0), (3.0, 1.0), (1.0, 1.0), (1.0, 2.0), (0.0, 2.0)],
        [(0.0, 0.0), (8.0, 8.0), (8.0, 0.0), (6.0, 0.0), (6.0, 3.0), (4.0, 1.0), (4.0, 0.0)],
        [(0.0, 0.0), (3.0, 1.0), (6.0, 0.0), (6.0, 4.0), (3.0, 2.0), (0.0, 4.0)],
    ],
)
def test_a_polygon_is_simple_in_every_frame(vertices: Any) -> None:
    for moved in in_other_frames(vertices):
        assert flaw(moved) == "", moved


@pytest.mark.parametrize(
    "vertices",
    [
        [SQUARE[0], SQUARE[2], SQUARE[1], SQUARE[3]],
        [(0.0, 0.0), (4.0, 0.0), (2.0, 0.0)],
        [(0.0, 0.0), (4.0, 2.0), (2.0, 1.0)],
        [(0.0, 0.0), (4.0, 0.0), (2.0, 0.0), (2.0, 2.0)],  # back on its own way, along an axis and aslant
        [(0.0, 0.0), (4.0, 2.0), (2.0, 1.0), (2.0, 3.0)],
        [(0.0, 0.0), (4.0, 0.0), (4.0, 4.0), (2.0, 0.0), (0.0, 4.0)],  # a vertex on another side
        [(0.0, 0.0), (4.0, 2.0), (0.0, 4.0), (2.0, 1.0), (-2.0, 2.0)],
        [(0.0, 0.0), (2.0, 2.0), (4.0, 0.0), (4.0, 4.0), (2.0, 2.0), (0.0, 4.0)],  # two in one place
        [(0.0, 0.0), (4.0, 0.0), (4.0, 2.0), (3.0, 0.0), (1.0, 0.0), (0.0, 2.0)],  # a side on another one
    ],
)
def test_sides_that_cross_or_touch_do_so_in_every_frame(vertices: Any) -> None:
    for moved in in_other_frames(vertices):
        assert "cross or touch" in flaw(moved), moved


def test_a_side_may_be_as_short_as_the_shortest_that_is_allowed() -> None:
    assert flaw([(0.0, 0.0), (0.001, 0.0), (0.0, 1.0)]) == ""
