from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from PIL import Image

from drivers.emulated import painter
from drivers.emulated.painter import (
    Camera,
    box,
    capsule,
    clip_near,
    cylinder,
    ellipsoid,
    hull,
    painting_order,
    place,
)
from drivers.emulated.render import Painting, View, render

CAMERA = Camera(np.array([0.0, -2.0, 0.0]), np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]]), 100.0, (50.0, 50.0))
GREY = np.array([0.5, 0.5, 0.5])

SCENE = """
<mujoco>
  <asset><material name="blue" rgba="0 0 1 1"/></asset>
  <worldbody>
    <geom type="plane" size="0 0 1"/>
    <geom name="wall" type="box" pos="0 1 0.5" size="0.5 0.05 0.5" material="blue"/>
    <geom type="box" pos="5 0 0.5" size="0.1 0.1 0.1" rgba="0 1 0 0"/>
    <body name="ball" pos="0 0 0.5">
      <freejoint/>
      <geom type="sphere" size="0.2" rgba="1 0 0 1" mass="1"/>
      <geom type="box" size="0.9 0.9 0.9" group="3" contype="0" conaffinity="0" mass="0"/>
    </body>
  </worldbody>
</mujoco>
"""


def body(half: tuple[float, float, float], position: tuple[float, float, float]) -> Any:
    placed = place(box(half), np.array(position), np.eye(3), GREY, CAMERA)
    assert placed is not None
    return placed


@pytest.mark.parametrize(
    "solid",
    [box((0.1, 0.2, 0.3)), cylinder(0.1, 0.3), capsule(0.1, 0.3), ellipsoid((0.1, 0.2, 0.3))],
    ids=["box", "cylinder", "capsule", "ellipsoid"],
)
def test_solids_are_closed_and_convex(solid: Any) -> None:
    assert np.abs(solid.vertices).max() <= 0.4 + 1e-9
    edges: list[tuple[int, int]] = []
    for face, normal in zip(solid.faces, solid.normals, strict=True):
        assert np.linalg.norm(normal) == pytest.approx(1)
        level = solid.vertices[face] @ normal
        assert np.ptp(level) < 1e-9
        assert (solid.vertices @ normal <= level[0] + 1e-9).all()
        edges += [(int(a), int(b)) for a, b in zip(face, np.roll(face, -1), strict=True)]
    assert sorted(edges) == sorted((b, a) for a, b in edges)


def test_the_far_body_is_painted_first() -> None:
    near, far = body((0.2, 0.2, 0.2), (0, 0, 0)), body((0.2, 0.2, 0.2), (0.1, 1, 0))
    assert painting_order([near, far]) == [1, 0]
    assert painting_order([far, near]) == [0, 1]


def test_what_lies_on_a_large_table_is_painted_after_it() -> None:
    camera = Camera(
        np.array([0, -2.0, 2.0]), np.array([[1, 0, 0], [0, 0.7071, 0.7071], [0, 0.7071, -0.7071]]), 100, (50, 50)
    )
    table = place(box((1, 1, 0.05)), np.zeros(3), np.eye(3), GREY, camera)
    cube = place(box((0.1, 0.1, 0.1)), np.array([0, 0.8, 0.15]), np.eye(3), GREY, camera)
    under = place(box((0.1, 0.1, 0.1)), np.array([0, -0.8, -0.15]), np.eye(3), GREY, camera)
    assert table is not None
    assert cube is not None
    assert under is not None
    assert cube.depth > table.depth > under.depth
    assert painting_order([cube, table, under]) == [2, 1, 0]


def test_bodies_that_hide_each_other_in_a_ring_are_all_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [body((0.3, 0.3, 0.3), (0, 0.1 * i, 0)) for i in range(4)]
    ring = bodies[:3]

    def hides(a: Any, b: Any) -> bool:
        places = {id(one): place for place, one in enumerate(ring)}
        if id(a) in places and id(b) in places:
            return (places[id(a)] - places[id(b)]) % 3 == 1
        return id(b) in places

    monkeypatch.setattr(painter, "_hides", hides)
    order = painting_order(bodies)
    assert sorted(order) == [0, 1, 2, 3]
    assert order[-1] == 3
    assert painting_order([]) == []


def test_a_body_at_the_camera_is_left_out() -> None:
    assert place(box((0.2, 0.2, 0.2)), np.array([0, -2.0, 0]), np.eye(3), GREY, CAMERA) is None


def test_polygons_are_cut_at_the_camera() -> None:
    cut = clip_near(np.array([[-1.0, 0, 1], [1, 0, 1], [1, 0, -1], [-1, 0, -1]]))
    assert len(cut) == 4
    assert cut[:, 2].min() > 0
    assert len(clip_near(np.array([[0.0, 0, -1], [1, 0, -1], [1, 1, -1]]))) == 0


def test_hull_keeps_the_outer_points() -> None:
    points = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2], [1, 1], [1, 0], [0.5, 1.5]])
    assert sorted(map(tuple, hull(points).tolist())) == [(0, 0), (0, 2), (2, 0), (2, 2)]


@pytest.fixture
def model() -> Any:
    return mujoco.MjModel.from_xml_string(SCENE)


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, int, int]:
    value = image.getpixel((x, y))
    assert isinstance(value, tuple)
    red, green, blue = value
    return red, green, blue


def test_a_picture_shows_what_is_there(model: Any) -> None:
    view = View(azimuth=90, elevation=-5, distance=4, lookat=(0, 0, 0.5))
    image = Painting(model, view, (120, 90)).frame(model.qpos0)
    assert image.size == (120, 90)
    red, green, blue = pixel(image, 60, 45)
    assert red > 3 * max(green, blue), "the ball in front of the wall"
    red, green, blue = pixel(image, 68, 38)
    assert blue > 3 * max(red, green), "the wall beside the ball"
    assert pixel(image, 60, 3) == (232, 238, 246), "the sky"
    red, green, blue = pixel(image, 10, 85)
    assert abs(red - blue) < 15, "the floor"


def test_the_ball_moves_in_the_picture(model: Any) -> None:
    painting = Painting(model, View(azimuth=90, elevation=-5, distance=4, lookat=(0, 0, 0.5)), (120, 90))
    away = model.qpos0.copy()
    away[0] += 1.0
    still, moved = painting.frame(model.qpos0), painting.frame(away)
    assert pixel(still, 60, 45)[0] > 100
    assert pixel(moved, 60, 45)[2] > 100


def test_an_unknown_camera_is_named(model: Any) -> None:
    with pytest.raises(ValueError, match="no camera 'top'; it has: none"):
        Painting(model, View(camera="top"), (120, 90))


def test_a_roaming_robot_stays_in_the_middle() -> None:
    roaming = mujoco.MjModel.from_xml_string(
        """<mujoco><worldbody><geom type="plane" size="0 0 1"/>
        <body name="trunk" pos="0 0 0.1"><freejoint/><geom type="sphere" size="0.1" rgba="1 0 0 1"/>
        <body><joint name="leg"/><geom type="box" size="0.02 0.02 0.02"/></body></body></worldbody>
        <actuator><motor joint="leg"/></actuator></mujoco>"""
    )
    painting = Painting(roaming, View(), (120, 90))
    far = roaming.qpos0.copy()
    far[:2] = (40, -25)
    for qpos in (roaming.qpos0, far):
        image = np.asarray(painting.frame(qpos), int)
        rows, columns = np.nonzero(image[..., 0] > image[..., 1] + 80)
        assert len(rows) > 20
        assert abs(columns.mean() - 60) < 10


def test_render_writes_an_animated_gif(tmp_path: Path) -> None:
    (tmp_path / "scene.xml").write_text(SCENE)
    times = np.arange(26) / 25
    qpos = np.tile([0, 0, 0.5, 1, 0, 0, 0], (26, 1)) + np.outer(times, [1, 0, 0, 0, 0, 0, 0])
    np.savez(tmp_path / "run.npz", times=times, qpos=qpos)
    count = render(tmp_path / "scene.xml", tmp_path / "run.npz", tmp_path / "run.gif", fps=10, size=(120, 90))
    assert count == 11
    with Image.open(tmp_path / "run.gif") as gif:
        assert gif.size == (120, 90)
        assert gif.n_frames == 11  # type: ignore[attr-defined]
        assert gif.info["duration"] == 100


def test_a_trajectory_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scene.xml").write_text(SCENE)
    np.savez(tmp_path / "run.npz", times=np.zeros(1), qpos=np.zeros((1, 3)))
    with pytest.raises(ValueError, match="3 coordinates"):
        render(tmp_path / "scene.xml", tmp_path / "run.npz", tmp_path / "run.gif")
    np.savez(tmp_path / "run.npz", times=np.zeros(0), qpos=np.zeros((0, 0)))
    with pytest.raises(ValueError, match="no snapshot"):
        render(tmp_path / "scene.xml", tmp_path / "run.npz", tmp_path / "run.gif")
