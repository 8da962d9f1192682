from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.joint import Joint
from drivers.state import Floats
from safety.axis import Limit
from safety.envelope import Envelope
from safety.errors import WorkspaceError
from safety.workspace.guard import MOST_POINTS
from safety.workspace.kinematics import RANGE, Kinematics
from safety.workspace.options import WorkspaceOptions
from tests.examples import times

DT = 0.01
MakeJoint = Callable[..., Joint]
Clearances = tuple[list[float], float]

ARM = """
<mujoco model="arm">
  <compiler angle="radian"/>
  <asset><material name="paint" rgba="1 0 0 1"/></asset>
  <worldbody>
    <body name="cube" pos="0.5 0.5 0"><freejoint/><geom type="box" size="0.1 0.1 0.1" material="paint"/></body>
    <body name="base" pos="0 0 0.5">
      <geom type="box" size="0.1 0.1 0.1"/>
      <body name="upper" pos="0.1 0 0">
        <joint name="shoulder_joint" axis="0 1 0"/>
        <geom type="capsule" fromto="0 0 0 0.4 0 0" size="0.04" mass="1"/>
        <body name="fore" pos="0.4 0 0">
          <joint name="elbow" axis="0 1 0" ref="0.3"/>
          <geom type="capsule" fromto="0 0 0 0.3 0 0" size="0.04" mass="1"/>
          <body name="flange" pos="0.3 0 0">
            <geom type="sphere" size="0.01" mass="0.1"/>
            <body name="hand" pos="0.05 0 0">
              <joint name="wrist" axis="0 1 0"/>
              <geom type="capsule" fromto="0 0 0 0.1 0 0" size="0.03" mass="1"/>
              <site name="tip" pos="0.1 0 0"/>
            </body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
</mujoco>
"""
SHAPE = [
    {"body": "base", "start": (-0.1, 0.0, 0.0), "end": (-0.2, 0.0, 0.0), "radius": 0.05},
    {"body": "upper", "start": (0.0, 0.0, 0.0), "end": (0.4, 0.0, 0.0), "radius": 0.04},
    {"body": "fore", "start": (0.05, 0.0, 0.0), "end": (0.3, 0.0, 0.0), "radius": 0.04},
    {"body": "hand", "start": (0.05, 0.0, 0.0), "radius": 0.05},
]
TABLE = [{"normal": (0.0, 0.0, 2.0), "offset": 0.1}]


@pytest.fixture(scope="session")
def three(make_joint: MakeJoint) -> list[Joint]:
    return [make_joint(name, position_min=-3.0, position_max=3.0) for name in ("shoulder", "elbow", "wrist")]


@pytest.fixture(scope="session")
def make_space(tmp_path_factory: pytest.TempPathFactory, three: list[Joint]) -> Callable[..., Kinematics]:
    path = tmp_path_factory.mktemp("arm") / "arm.xml"
    path.write_text(ARM)

    def make(**given: object) -> Kinematics:
        return Kinematics(WorkspaceOptions.model_validate({"model": path, **given}), three)

    return make


def start(joints: Sequence[Joint], space: object, *position: float) -> Envelope:
    envelope = Envelope(joints, DT, None, space)  # type: ignore[arg-type]
    envelope.reset(np.array(position))
    return envelope


def tick(envelope: Envelope, *goal: float) -> Floats:
    out = np.empty(len(goal))
    envelope.apply(np.array(goal), out)
    return out


# -- forward kinematics


def points(angles: Sequence[float]) -> list[complex]:
    """Shoulder, elbow and tip of ARM in its plane: x + iz. Positive angles turn down."""
    shoulder, elbow, wrist = angles
    at, turn = 0.1 + 0.5j, np.exp(-1j * shoulder)
    upper = at + 0.4 * turn
    turn *= np.exp(-1j * (elbow - 0.3))
    hand = upper + 0.35 * turn
    return [at, upper, upper + 0.05 * turn, upper + 0.3 * turn, hand + 0.1 * turn * np.exp(-1j * wrist)]


angles = st.tuples(st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))


@given(angles)
def test_the_tools_distance_is_that_of_the_arm(make_space: Callable[..., Kinematics], q: Sequence[float]) -> None:
    space = make_space(
        tool="tip",
        planes=[{"normal": (0, 0, 2), "offset": 0.1}, {"normal": (3, 0, 4), "offset": -0.2}],
        box={"min": (-0.5, -0.1, 0.2), "max": (0.7, 0.1, 1.0)},
    )
    borders, nearest = space.clearances(q)
    tip = points(q)[-1]
    x, z = tip.real, tip.imag
    expected = [z - 0.1, 0.6 * x + 0.8 * z + 0.2, x + 0.5, 0.1, z - 0.2, 0.7 - x, 0.1, 1.0 - z]
    assert np.allclose(borders, expected, atol=1e-9)
    assert nearest == RANGE, "there are no capsules"


@given(angles)
def test_capsules_are_compared_unless_a_joint_links_them(
    make_space: Callable[..., Kinematics], q: Sequence[float]
) -> None:
    space = make_space(capsule=SHAPE)
    _, nearest = space.clearances(q)
    at, elbow, fore, wrist, _ = points(q)
    turn = (wrist - fore) / abs(wrist - fore)
    hand = elbow + 0.35 * turn + 0.05 * turn * np.exp(-1j * q[2])

    def apart(a: Sequence[complex], b: Sequence[complex], radii: float) -> float:
        """By brute force: good to half a millimetre."""
        one, other = (np.linspace(*line, 401) for line in (a, b))
        return float(np.abs(one[:, None] - other[None, :]).min() - radii)

    base = [-0.1 + 0.5j, -0.2 + 0.5j]
    pairs = [
        apart(base, [fore, wrist], 0.09),
        apart(base, [hand, hand], 0.1),
        apart([at, elbow], [hand, hand], 0.09),
    ]
    assert nearest == pytest.approx(min(RANGE, *pairs), abs=2e-3)


def test_pairs_that_are_ignored_are_not_compared(make_space: Callable[..., Kinematics]) -> None:
    folded = (0.0, 3.0, 0.0)
    assert make_space(capsule=SHAPE).clearances(folded)[1] < RANGE
    ignore = [("hand", "upper"), ("base", "hand"), ("fore", "base")]
    assert make_space(capsule=SHAPE, ignore=ignore).clearances(folded)[1] == RANGE


def test_many_capsules_that_touch_at_once_are_all_seen(make_space: Callable[..., Kinematics]) -> None:
    folded = [0.0, 3.0, 0.0]
    _, nearest = make_space(capsule=SHAPE).clearances(folded)
    crowd = make_space(capsule=[{**part, "radius": 0.5} for part in SHAPE for _ in range(40)] + SHAPE)
    assert crowd._model.npair == 41 * 41 * 3
    assert crowd.clearances(folded)[1] < nearest - 0.8
    assert crowd._data.ncon >= crowd._model.npair - 3, "but for the thin ones"


@given(angles, angles)
def test_nothing_moves_further_than_the_reach_of_the_joints(
    make_space: Callable[..., Kinematics], one: Sequence[float], other: Sequence[float]
) -> None:
    space = make_space(tool="tip", planes=TABLE, capsule=SHAPE)
    most = sum(abs(a - b) * far for a, b, far in zip(one, other, space.reach, strict=True))
    borders, nearest = space.clearances(one)
    borders_then, nearest_then = space.clearances(other)
    assert abs(borders[0] - borders_then[0]) <= most + 1e-9
    assert abs(nearest - nearest_then) <= most + 1e-9


def test_a_urdf_is_read_too(tmp_path: Path, three: list[Joint]) -> None:
    def link(name: str) -> str:
        mass = '<inertial><mass value="1"/><inertia ixx="1" iyy="1" izz="1" ixy="0" ixz="0" iyz="0"/></inertial>'
        return f'<link name="{name}">{mass}</link>'

    def joint(name: str, parent: str, child: str, x: float) -> str:
        return (
            f'<joint name="{name}" type="revolute"><parent link="{parent}"/><child link="{child}"/>'
            f'<origin xyz="{x} 0 0"/><axis xyz="0 1 0"/>'
            '<limit lower="-3" upper="3" effort="1" velocity="1"/></joint>'
        )

    names = ("base", "upper", "fore", "hand")
    chain = zip(("shoulder", "elbow", "wrist"), names[:3], names[1:], (0.1, 0.4, 0.35), strict=True)
    path = tmp_path / "arm.urdf"
    path.write_text(
        f'<robot name="arm">{"".join(map(link, names))}{"".join(joint(*each) for each in chain)}</robot>'
    )
    options = WorkspaceOptions.model_validate({"model": path, "tool": "hand", "planes": TABLE})
    borders, _ = Kinematics(options, three).clearances([math.pi / 2, 0.0, 0.0])
    assert borders == pytest.approx([-0.75 - 0.1])


def test_everything_that_the_model_lacks_is_told_at_once(make_space: Callable[..., Kinematics]) -> None:
    with pytest.raises(WorkspaceError) as told:
        make_space(
            tool="nose", planes=TABLE, capsule=[*SHAPE, {**SHAPE[0], "body": "tail"}], ignore=[("hand", "x")]
        )
    assert [text.split(";")[0] for text in told.value.problems] == [
        "no site or body nose",
        "no body tail",
        "no body x",
    ]
    assert "base" in str(told.value)
    assert "tip" in str(told.value)


def test_a_joint_that_the_model_lacks_is_told(tmp_path: Path, make_joint: MakeJoint, three: list[Joint]) -> None:
    (tmp_path / "arm.xml").write_text(ARM)
    options = WorkspaceOptions.model_validate({"model": tmp_path / "arm.xml", "tool": "tip", "planes": TABLE})
    with pytest.raises(WorkspaceError, match="no hinge or slide joint tail or tail_joint; it has shoulder_joint"):
        Kinematics(options, [*three, make_joint("tail")])


def test_a_file_that_is_no_model_is_told(tmp_path: Path, three: list[Joint]) -> None:
    (tmp_path / "arm.xml").write_text("<mujoco><worldbody><body></mujoco>")
    options = WorkspaceOptions.model_validate({"model": tmp_path / "arm.xml", "tool": "tip", "planes": TABLE})
    with pytest.raises(WorkspaceError, match="nothing that MuJoCo can read"):
        Kinematics(options, three)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tool": "tip"}, "no box or planes"),
        ({"planes": TABLE}, "no tool"),
        ({"capsule": SHAPE[:1]}, "nothing would be watched"),
        ({"tool": "tip", "planes": [{"normal": (0, 0, 0), "offset": 0}]}, "no direction"),
        ({"tool": "tip", "box": {"min": (0, 0, 0), "max": (1, 0, 1)}}, "is not below"),
    ],
)
def test_a_workspace_that_watches_nothing_is_a_mistake(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WorkspaceOptions.model_validate({"model": "arm.xml", **given})


# -- the guard


class Slide:
    """Two joints whose angles are a place in a plane, m, with walls, and discs that nothing may come into."""

    margin = 0.01
    reach = (1.0, 1.0)

    def __init__(self, walls: Sequence[tuple[float, float, float]], discs: Sequence[tuple[complex, float]] = ()):
        self.walls, self.discs = walls, discs
        self.looks = 0

    def clearances(self, angles: Sequence[float]) -> Clearances:
        self.looks += 1
        x, y = angles
        nearest = min((abs(complex(x, y) - at) - radius for at, radius in self.discs), default=1.0)
        return [a * x + b * y - offset for a, b, offset in self.walls], min(nearest, 1.0)


@pytest.fixture
def two(make_joint: MakeJoint) -> list[Joint]:
    return [make_joint("x"), make_joint("y", acceleration_max=10.0)]


def test_commands_that_stay_inside_are_those_without_a_workspace(two: list[Joint]) -> None:
    bare, guarded = start(two, None, 0.0, 0.0), start(two, Slide([(1.0, 0.0, -1.5)]), 0.0, 0.0)
    for k in range(600):
        goal = 0.7 * math.sin(DT * k) + (0.3 if k % 100 > 50 else 0.0), math.cos(DT * k)
        assert (tick(bare, *goal) == tick(guarded, *goal)).all()
        assert (bare.limits == guarded.limits).all()


def test_a_wall_is_approached_and_never_crossed(two: list[Joint]) -> None:
    envelope = start(two, Slide([(-1.0, 0.0, -0.5)]), 0.0, 0.0)
    path = np.array([tick(envelope, 2.0, 0.3) for _ in range(300)])
    assert 0.35 < path[-1, 0] <= 0.49 + 1e-9
    assert (path[-1] == path[-2]).all()
    assert envelope.limits.tolist() == [Limit.WORKSPACE, Limit.WORKSPACE]
    assert envelope.counts[Limit.WORKSPACE].tolist() == [envelope.counts[Limit.WORKSPACE][0]] * 2
    back = np.array([tick(envelope, -0.2, 0.3) for _ in range(300)])
    assert back[-1].tolist() == [-0.2, 0.3]
    assert envelope.limits.tolist() == [0, 0]


def test_standing_at_a_wall_it_does_not_jerk_towards_it(two: list[Joint]) -> None:
    envelope = start(two, Slide([(-1.0, 0.0, -0.5)]), 0.0, 0.0)
    for _ in range(100):
        tick(envelope, 2.0, 0.0)
    here = envelope.position.copy()
    for k in range(300):
        assert (tick(envelope, 0.6 + 0.1 * math.sin(k), 0.2) == here).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_goal_that_is_no_number_does_not_free_it(two: list[Joint], bad: float) -> None:
    envelope = start(two, Slide([(-1.0, 0.0, -0.5)]), 0.0, 0.0)
    for _ in range(100):
        tick(envelope, 2.0, 0.0)
    here = envelope.position.copy()
    for _ in range(50):
        assert (tick(envelope, bad, 0.0) == here).all()


@pytest.mark.parametrize("pole", [0.05, 0.13, 0.21, 0.38, 0.47, 0.52, 0.66])
def test_what_lies_between_the_ends_of_a_stop_is_seen(make_joint: MakeJoint, pole: float) -> None:
    # This joint makes steps of 0.2 m: looks at commands and stopping points alone step over a thin pole.
    fast = [make_joint("x", velocity_max=20.0, acceleration_max=200.0), make_joint("y")]
    envelope = start(fast, Slide([], [(complex(pole, 0.0), 0.002)]), -1.0, 0.0)
    path = np.array([tick(envelope, 1.8, 0.0) for _ in range(60)])
    assert path[:, 0].max() < pole
    assert envelope.limits.tolist() == [Limit.COLLISION, Limit.COLLISION]


class Lever(Slide):
    """A place moves by 2 m where a joint turns by 1 rad."""

    reach = (2.0, 2.0)

    def clearances(self, angles: Sequence[float]) -> Clearances:
        return super().clearances([2 * angle for angle in angles])


@pytest.mark.parametrize("pole", [0.05, 0.13, 0.21, 0.38, 0.47, 0.52, 0.66])
def test_what_lies_between_is_seen_with_a_joint_that_moves_things_far(make_joint: MakeJoint, pole: float) -> None:
    fast = [make_joint("x", velocity_max=10.0, acceleration_max=100.0), make_joint("y")]
    envelope = start(fast, Lever([], [(complex(pole, 0.0), 0.002)]), -0.5, 0.0)
    path = np.array([tick(envelope, 0.9, 0.0) for _ in range(60)])
    assert 2 * path[:, 0].max() < pole


def test_between_two_poles_that_are_close_it_never_locks_itself_in(make_joint: MakeJoint) -> None:
    # Where it comes to rest it is closer than it was on its way, and yet further away than at its start.
    slow = [make_joint("x", acceleration_max=5.0), make_joint("y")]
    envelope = start(slow, Slide([], [(0.1071 + 0j, 0.1), (-0.1135 + 0j, 0.1)]), 0.0, 0.0)
    for goal in (-0.0045, -0.003):
        for _ in range(50):
            place = tick(envelope, goal, 0.0)
        assert place[0] == pytest.approx(goal)


@times(1.5)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(-2, 2), st.sampled_from([math.nan, math.inf, 1e300])),
            st.floats(-2, 2),
            st.integers(1, 60),
        ),
        max_size=15,
    ),
    st.lists(st.tuples(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.floats(0.01, 0.4)), max_size=5),
    st.sampled_from([None, 200.0, 2000.0]),
)
def test_no_goal_leads_out_of_the_workspace(
    runs: list[tuple[float, float, int]], discs: list[tuple[float, float, float]], jerk: float | None
) -> None:
    joints = [
        Joint(
            name=name,
            bus="b",
            id=i,
            model="m",
            position_min=-2,
            position_max=2,
            velocity_max=3,
            acceleration_max=acceleration,
            jerk_max=jerk,
        )
        for i, (name, acceleration) in enumerate((("x", 20.0), ("y", 10.0)))
    ]
    walls = [(0.6, 0.8, -1.0), (0.0, -1.0, -1.0)]
    space = Slide(walls, [(complex(x, y), r) for x, y, r in discs if math.hypot(x, y) > r + 0.05])
    envelope = start(joints, space, 0.0, 0.0)
    path = [np.zeros(2)] * 4
    for x, y, ticks in runs:
        for _ in range(ticks):
            space.looks = 0
            path.append(tick(envelope, x, y))
            assert space.looks <= MOST_POINTS + 2
    places = np.array(path)
    for place in places:
        borders, nearest = space.clearances(place.tolist())
        assert min(borders) >= -1e-9
        assert nearest >= -1e-9
    speeds = np.diff(places, axis=0) / DT
    assert np.abs(speeds).max() <= 3 * (1 + 1e-9)
    assert (np.abs(np.diff(speeds, axis=0)) <= np.array([20, 10]) * DT * (1 + 1e-9) + 1e-9).all()
    if jerk is not None:
        assert np.abs(np.diff(speeds, 2, axis=0)).max() <= jerk * DT**2 * (1 + 1e-9) + 1e-6


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2), st.integers(1, 40)), max_size=15))
def test_a_robot_that_is_outside_gets_no_deeper_and_may_come_back(runs: list[tuple[float, float, int]]) -> None:
    joints = [
        Joint(
            name=name,
            bus="b",
            id=i,
            model="m",
            position_min=-2,
            position_max=2,
            velocity_max=3,
            acceleration_max=20,
        )
        for i, name in enumerate("xy")
    ]
    space = Slide([(-1.0, 0.0, -0.5), (0.0, -1.0, -0.5)])
    envelope = start(joints, space, 0.8, 0.0)
    depth = deepest = 0.3
    for x, y, ticks in runs:
        for _ in range(ticks):
            place = tick(envelope, x, y)
            borders, _ = space.clearances(place.tolist())
            assert borders[0] >= -deepest - 1e-9, "no deeper than it ever was since"
            depth = -borders[0]
            assert borders[1] >= -1e-9
            if not envelope.limits.any():
                deepest = min(deepest, max(depth, -0.01))
    for _ in range(400):
        place = tick(envelope, 0.0, 0.0)
    assert place.tolist() == [0.0, 0.0]
