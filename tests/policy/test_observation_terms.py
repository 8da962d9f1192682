"""From the robot's state to the policy's observation."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from pydantic import ValidationError

from drivers.state import JointState
from runtime.policy.errors import PolicyError, TermsError
from runtime.policy.terms import ObservationBuilder, ObservationTerm

JOINTS = ["base", "elbow", "wrist"]


@dataclass
class FakeSensor:
    name: str
    fields: dict[str, slice]
    values: np.ndarray
    stamp_ns: int = 0


def imu(orientation=(1.0, 0.0, 0.0, 0.0)):
    return FakeSensor(
        "imu", {"gyro": slice(0, 3), "orientation": slice(3, 7)}, np.array([0.1, 0.2, 0.3, *orientation])
    )


@dataclass
class Robot:
    state: JointState = field(default_factory=lambda: JointState(3))
    command: np.ndarray = field(default_factory=lambda: np.array([0.5, -0.5]))
    last_action: np.ndarray = field(default_factory=lambda: np.array([7.0, 8.0]))

    def __post_init__(self):
        self.state.position[:] = [1.0, 2.0, 3.0]
        self.state.velocity[:] = [10.0, 20.0, 30.0]
        self.state.torque[:] = [100.0, 200.0, 300.0]

    def observe(self, *terms, sensors=()):
        builder = make(*terms, sensors=sensors)
        out = np.zeros(builder.size, np.float32)
        assert builder.build(out, self.state, self.command, self.last_action)
        return out.tolist()


def make(*terms, sensors=()):
    return ObservationBuilder([ObservationTerm(**term) for term in terms], JOINTS, sensors, ["vx", "vy"], 2)


def test_each_source():
    r = Robot()
    assert r.observe({"source": "joint.position"}) == [1.0, 2.0, 3.0]
    assert r.observe({"source": "joint.velocity"}) == [10.0, 20.0, 30.0]
    assert r.observe({"source": "joint.torque"}) == [100.0, 200.0, 300.0]
    assert r.observe({"source": "last_action"}) == [7.0, 8.0]
    assert r.observe({"source": "command"}) == [0.5, -0.5]
    assert r.observe({"source": "sensor.imu.gyro"}, sensors=[imu()]) == pytest.approx([0.1, 0.2, 0.3])
    assert r.observe(
        {"source": "projected_gravity", "sensor": "imu.orientation"}, sensors=[imu()]
    ) == pytest.approx([0.0, 0.0, -1.0])


def test_the_order_is_that_of_the_terms_and_of_their_names():
    observation = Robot().observe(
        {"source": "command", "names": ["vy"]},
        {"source": "joint.velocity", "joints": ["wrist", "base"]},
        {"source": "sensor.imu.gyro"},
        {"source": "joint.position", "joints": ["elbow"]},
        {"source": "command", "names": ["vy", "vx"]},
        sensors=[FakeSensor("other", {"x": slice(0, 1)}, np.array([9.0])), imu()],
    )
    assert observation == pytest.approx([-0.5, 30.0, 10.0, 0.1, 0.2, 0.3, 2.0, -0.5, 0.5])


def test_offset_scale_and_clip():
    observation = Robot().observe(
        {"source": "joint.position", "offset": [0.5, 1.0, 1.5], "scale": 2.0},
        {"source": "joint.velocity", "offset": 10.0, "scale": [1.0, 0.1, -1.0], "clip": 5.0},
        {"source": "last_action"},
    )
    assert observation == pytest.approx([1.0, 2.0, 3.0, 0.0, 1.0, -5.0, 7.0, 8.0])


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0.0, 0.8), (-0.48, 0.6, 0.64)])
@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2, math.pi / 2, math.pi])
def test_projected_gravity_is_the_transposed_rotation_of_down(axis, angle):
    half = angle / 2
    quaternion = (math.cos(half), *(math.sin(half) * value for value in axis))
    # Rodrigues: the rotation matrix by another road than the quaternion's.
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross
    observation = Robot().observe(
        {"source": "projected_gravity", "sensor": "imu.orientation"}, sensors=[imu(quaternion)]
    )
    assert observation == pytest.approx(rotation.T @ [0.0, 0.0, -1.0], abs=1e-6)


@pytest.mark.parametrize(
    "quaternion", [(0.0,) * 4, (1.0, 1.0, 0.0, 0.0), (math.nan,) * 4, (math.inf, 0.0, 0.0, 0.0)]
)
def test_what_is_no_orientation_does_not_read_as_upright(quaternion):
    builder = make({"source": "projected_gravity", "sensor": "imu.orientation"}, sensors=[imu(quaternion)])
    r = Robot()
    assert not builder.build(np.zeros(3, np.float32), r.state, r.command, r.last_action)
    assert builder.missing() == ["projected_gravity (sensor.imu.orientation is not a unit quaternion)"]


def test_a_missing_value_stops_the_observation_and_is_named():
    r = Robot()
    sensor = imu()
    builder = make(
        {"source": "joint.position"}, {"source": "sensor.imu.gyro"}, {"source": "command"}, sensors=[sensor]
    )
    out = np.zeros(builder.size, np.float32)
    assert builder.build(out, r.state, r.command, r.last_action)
    assert builder.missing() == []
    r.state.velocity[:] = math.nan
    assert builder.build(out, r.state, r.command, r.last_action), "nobody asked for speeds"
    r.state.position[1] = math.nan
    sensor.values[:3] = math.nan
    r.command[0] = math.inf
    assert not builder.build(out, r.state, r.command, r.last_action)
    assert builder.missing() == ["joint.position of elbow", "sensor.imu.gyro", "command of vx"]


def test_all_mistakes_at_once():
    with pytest.raises(TermsError) as caught:
        make(
            {"source": "joint.position", "joints": ["elbow", "nose", "elbow"], "offset": [1.0, 2.0]},
            {"source": "joint.velocity"},
            {"source": "command", "names": ["vz"]},
            {"source": "sensor.imu.gyr"},
            {"source": "projected_gravity", "sensor": "imu.gyro"},
            {"source": "last_action", "scale": [1.0] * 3},
            {"source": "joint.torque", "joints": []},
            sensors=[imu()],
        )
    assert isinstance(caught.value, PolicyError)
    assert caught.value.problems == (
        "observation term 1 (joint.position): no joint is called nose; found base, elbow, wrist",
        "observation term 1 (joint.position): elbow found more than once, expected each joint once",
        "observation term 1 (joint.position): offset has 2 numbers, expected one, or one for each of the 3 values",
        "observation term 3 (command): no command is called vz; found vx, vy",
        "observation term 4 (sensor.imu.gyr): there is no sensor.imu.gyr; "
        "found sensor.imu.gyro, sensor.imu.orientation",
        "observation term 5 (projected_gravity): sensor.imu.gyro has 3 values, "
        "expected a quaternion: 4, in the order w, x, y, z",
        "observation term 6 (last_action): scale has 3 numbers, expected one, or one for each of the 2 values",
        "observation term 7 (joint.torque): found an empty list of joints; leave it out to take all",
    )
    assert all(problem in str(caught.value) for problem in caught.value.problems)


def test_terms_for_what_the_robot_lacks():
    with pytest.raises(TermsError, match=r"there is no sensor\.imu\.gyro; found no sensors at all"):
        make({"source": "sensor.imu.gyro"})
    with pytest.raises(TermsError, match="found no observation terms"):
        make()
    with pytest.raises(TermsError, match="the robot has no such values"):
        ObservationBuilder([ObservationTerm(source="command")], JOINTS, [], [], 2)


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ({"source": "joint.angle"}, "found 'joint.angle', expected one of joint.position, joint.velocity"),
        ({"source": "sensor.imu"}, "expected one of"),
        ({"source": "sensor..gyro"}, "expected one of"),
        ({"source": "command", "joints": ["elbow"]}, "`joints` goes with a joint source only"),
        ({"source": "joint.position", "names": ["vx"]}, "`names` goes with the source `command` only"),
        ({"source": "command", "sensor": "imu.x"}, "`sensor` goes with the source `projected_gravity` only"),
        ({"source": "projected_gravity"}, "needs `sensor"),
        ({"source": "projected_gravity", "sensor": "imu"}, "needs `sensor"),
        ({"source": "command", "offset": math.nan}, "finite number"),
        ({"source": "command", "scale": [1.0, math.inf]}, "finite number"),
        ({"source": "command", "clip": 0.0}, "greater than 0"),
        ({"source": "command", "gain": 2.0}, "Extra inputs are not permitted"),
    ],
)
def test_a_term_that_makes_no_sense(term, text):
    with pytest.raises(ValidationError) as caught:
        ObservationTerm(**term)
    assert text in str(caught.value)


GO1_JOINTS = [f"{leg}_{part}" for leg in ("FR", "FL", "RR", "RL") for part in ("hip", "thigh", "calf")]
HOME = [0.1, 0.9, -1.8, -0.1, 0.9, -1.8] * 2
GO1_TERMS = [
    ObservationTerm(source="sensor.body.local_linvel"),
    ObservationTerm(source="sensor.body.gyro"),
    ObservationTerm(source="projected_gravity", sensor="body.orientation"),
    ObservationTerm(source="joint.position", offset=HOME),
    ObservationTerm(source="joint.velocity"),
    ObservationTerm(source="last_action"),
    ObservationTerm(source="command"),
]


def test_the_observation_of_the_go1():
    values = np.array([1.0, 2.0, 3.0, 0.4, 0.5, 0.6, 0.0, 1.0, 0.0, 0.0])
    body = FakeSensor(
        "body", {"local_linvel": slice(0, 3), "gyro": slice(3, 6), "orientation": slice(6, 10)}, values
    )
    builder = ObservationBuilder(GO1_TERMS, GO1_JOINTS, [body], ["vx", "vy", "yaw"], 12)
    assert builder.size == 48
    state = JointState(12)
    state.position[:] = HOME
    state.position[0] += 0.25
    state.velocity[:] = np.arange(12)
    out = np.zeros(48, np.float32)
    assert builder.build(out, state, np.array([1.0, 0.0, -0.5]), np.arange(12) / 10)
    assert out[:9].tolist() == pytest.approx([1.0, 2.0, 3.0, 0.4, 0.5, 0.6, 0.0, 0.0, 1.0]), "it lies on its back"
    assert out[9:21].tolist() == pytest.approx([0.25] + [0.0] * 11)
    assert out[21:33].tolist() == list(range(12))
    assert out[33:45].tolist() == pytest.approx([value / 10 for value in range(12)])
    assert out[45:].tolist() == [1.0, 0.0, -0.5]
