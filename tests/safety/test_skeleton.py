"""What is taken from a robot's model, in numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.joint import Joint
from safety.errors import WorkspaceError
from safety.workspace.kinematics import RANGE, Kinematics
from safety.workspace.options import WorkspaceOptions
from safety.workspace.skeleton import Skeleton, load

# A post that turns, a cart that slides on an arm of it, and on the cart a hand whose axis is not at its origin.
CRANE = """
<mujoco>
  <compiler angle="radian"/>
  <worldbody>
    <body name="foot" pos="0 0 0.5">
      <body name="post" pos="0 0 0.5">
        <joint name="turn" axis="0 0 1"/>
        <geom type="sphere" size="0.1" mass="1"/>
        <body name="cart" pos="0.5 0 0">
          <joint name="rail_joint" type="slide" axis="1 0 0" ref="0.1"/>
          <geom type="sphere" size="0.1" mass="1"/>
          <body name="hand" pos="0 0 -0.2" quat="0 1 0 0">
            <joint name="tilt" axis="0 1 0" pos="0.03 0 0.04"/>
            <joint name="spare" axis="1 0 0"/>
            <geom type="sphere" size="0.1" mass="1"/>
            <site name="tip" pos="0 0 0.3"/>
            <site pos="0 0 0"/>
            <body name="finger" pos="0 0 0.1"><geom type="sphere" size="0.01" mass="0.1"/></body>
          </body>
        </body>
      </body>
    </body>
    <body name="shelf" pos="2 0 0"><joint name="ball" type="ball"/><geom type="sphere" size="0.1" mass="1"/></body>
  </worldbody>
</mujoco>
"""
FLOOR = [{"normal": (0.0, 0.0, 1.0), "offset": 0.0}]
NAMES = ("rail", "tilt", "turn")
JOINTS = "turn, rail_joint, tilt, spare, ball"
BODIES = "world, foot, post, cart, hand, finger, shelf"

Load = Callable[..., Skeleton]


@pytest.fixture
def joints(make_joint: Callable[..., Joint]) -> list[Joint]:
    return [make_joint(name, position_min=-0.4, position_max=0.25) for name in NAMES]


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., WorkspaceOptions]:
    path = tmp_path / "crane.xml"
    path.write_text(CRANE)
    return lambda **given: WorkspaceOptions.model_validate({"model": path, **given})


@pytest.fixture
def load_crane(options: Callable[..., WorkspaceOptions], joints: list[Joint]) -> Load:
    return lambda **given: load(options(**given), joints, RANGE)


def ball(body: str, *start: float, radius: float = 0.05, **more: Any) -> dict[str, Any]:
    return {"body": body, "start": start or (0.0, 0.0, 0.0), "radius": radius, **more}


def test_the_tool_is_where_the_joints_lead_it(
    options: Callable[..., WorkspaceOptions], joints: list[Joint]
) -> None:
    axes = [{"normal": unit, "offset": 0.0} for unit in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))]
    space = Kinematics(options(tool="tip", planes=axes), joints)

    def place(rail: float, tilt: float, turn: float) -> list[float]:
        return space.clearances([rail, tilt, turn])[0]

    # The hand hangs upside down, its tip 0.3 below it; the rail stands at 0 where it reads 0.1.
    assert place(0.1, 0.0, 0.0) == pytest.approx([0.5, 0.0, 0.5])
    assert place(0.3, 0.0, 0.0) == pytest.approx([0.7, 0.0, 0.5])
    assert place(0.3, 0.0, math.pi / 2) == pytest.approx([0.0, 0.7, 0.5])
    # Its axis is at 0.53 and 0.76, the tip 0.03 behind it and 0.26 below: a quarter turn ahead, and below it.
    assert place(0.1, math.pi / 2, 0.0) == pytest.approx([0.53 + 0.26, 0.0, 0.76 - 0.03])


def test_the_tool_has_a_distance_from_each_plane_and_each_face_of_a_box(
    options: Callable[..., WorkspaceOptions], joints: list[Joint]
) -> None:
    slope = [{"normal": (0.0, 3.0, 4.0), "offset": 0.1}]
    box = {"min": (-1.0, -2.0, -3.0), "max": (1.5, 2.5, 3.5)}
    space = Kinematics(options(tool="tip", planes=slope, box=box), joints)
    borders, _ = space.clearances([0.1, 0.0, 0.0])  # 0.5, 0, 0.5
    assert borders == pytest.approx([0.3, 1.5, 2.0, 3.5, 1.0, 2.5, 3.0])
    borders, _ = space.clearances([0.3, 0.0, math.pi / 2])  # 0, 0.7, 0.5
    assert borders == pytest.approx([0.72, 1.0, 2.7, 3.5, 1.5, 1.8, 3.0])


def test_the_reach_of_a_joint_is_the_way_to_what_is_watched_drawn_straight(load_crane: Load) -> None:
    # tilt: 0.3 to the tip, and twice the 0.05 to its axis. rail: everything by its own way. turn: the tilt's 0.4,
    # then 0.2 up to the cart, the longest way of the slide, 0.4, and 0.5 to the post.
    assert load_crane(tool="tip", planes=FLOOR).reach == pytest.approx([1.0, 0.4, 1.5])
    # Of several points the furthest; of a capsule that is its further end.
    near, far = ball("hand", 0.0, 0.0, 0.1), ball("finger", 0.0, 0.0, 0.1, end=(0.0, 0.3, 0.4))
    assert load_crane(capsule=[near, ball("foot")]).reach == pytest.approx([1.0, 0.2, 1.3])
    assert load_crane(capsule=[far, near, ball("foot")]).reach == pytest.approx([1.0, 0.7, 1.8])
    for still in ("foot", "world"):
        assert load_crane(tool=still, planes=FLOOR).reach == [0.0, 0.0, 0.0]
    assert load_crane(tool="hand", planes=FLOOR).reach == pytest.approx([1.0, 0.1, 1.2])


def test_parts_are_compared_unless_they_are_one_or_a_joint_links_them(load_crane: Load) -> None:
    shape = [ball(body) for body in ("world", "foot", "post", "cart", "hand", "finger", "hand")]
    world, foot, post, cart, hand, finger, other = range(7)
    beyond = {world: (cart, hand, finger, other), foot: (cart, hand, finger, other), post: (hand, finger, other)}
    apart = [(one, each) for one, others in beyond.items() for each in others]
    assert load_crane(capsule=shape).pairs == apart
    ignore = [("post", "hand"), ("cart", "foot")]
    left = [pair for pair in apart if pair not in ((post, hand), (post, other), (foot, cart))]
    assert load_crane(capsule=shape, ignore=ignore).pairs == left


def test_the_world_is_linked_to_what_stands_on_it_by_a_joint(tmp_path: Path, joints: list[Joint]) -> None:
    path = tmp_path / "arm.xml"
    part = '<geom type="sphere" size="0.1" mass="1"/>'
    hand = f'<body name="hand"><joint name="tilt"/>{part}</body>'
    post = f'<body name="post"><joint name="turn"/><joint name="rail" type="slide"/>{part}{hand}</body>'
    path.write_text(f"<mujoco><worldbody>{post}</worldbody></mujoco>")
    shape = [ball(body) for body in ("world", "post", "hand")]
    given = WorkspaceOptions.model_validate({"model": path, "capsule": shape})
    assert load(given, joints, RANGE).pairs == [(0, 2)]


def test_capsules_and_spheres_have_the_shape_that_is_given(
    options: Callable[..., WorkspaceOptions], joints: list[Joint]
) -> None:
    def apart(*capsules: dict[str, Any]) -> float:
        return Kinematics(options(capsule=capsules), joints).clearances([0.1, 0.0, 0.0])[1]

    hand = ball("hand", 0.0, 0.0, 0.3, radius=0.06)  # at 0.5, 0, 0.5
    assert apart(hand, ball("world", 0.5, 0.0, 0.3)) == pytest.approx(0.2 - 0.11)
    assert apart(hand, ball("world", 0.5, 0.0, 0.3, end=(0.5, 0.0, 0.3))) == pytest.approx(0.2 - 0.11)
    assert apart(hand, ball("world", 0.0, 0.0, 0.4, end=(1.0, 0.0, 0.4))) == pytest.approx(0.1 - 0.11)
    assert apart(hand, ball("world", 0.5, 0.0, -1.0, end=(0.5, 0.0, 0.3))) == pytest.approx(0.2 - 0.11)
    assert apart(hand, ball("world", 0.5, 0.0, 0.1)) == RANGE


def test_everything_that_the_model_lacks_is_told_with_what_it_has(
    options: Callable[..., WorkspaceOptions], joints: list[Joint], make_joint: Callable[..., Joint]
) -> None:
    given = options(tool="nose", planes=FLOOR, capsule=[ball("tail")], ignore=[("hand", "ear")])
    with pytest.raises(WorkspaceError) as told:
        load(given, [*joints, make_joint("ball"), make_joint("wheel")], RANGE)
    assert told.value.problems == (
        f"no hinge or slide joint ball or ball_joint; it has {JOINTS}",
        f"no hinge or slide joint wheel or wheel_joint; it has {JOINTS}",
        f"no site or body nose; it has tip and {BODIES}",
        f"no body tail; it has {BODIES}",
        f"no body ear; it has {BODIES}",
    )
    assert str(told.value) == "; ".join(told.value.problems)


def test_a_model_without_names_has_none(tmp_path: Path) -> None:
    (tmp_path / "bare.xml").write_text("<mujoco/>")
    given = WorkspaceOptions.model_validate({"model": tmp_path / "bare.xml", "tool": "tip", "planes": FLOOR})
    with pytest.raises(WorkspaceError, match=r"^no site or body tip; it has none and world$"):
        load(given, [], RANGE)
