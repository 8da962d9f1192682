"""Joint and motor coordinates, and what a config may not say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from drivers.bus import Bus
from drivers.joint import Joint
from drivers.motors.damiao.bus import TORQUE_LOST, DamiaoBus
from drivers.motors.damiao.frames import CLEAR_ERROR, DISABLE, ENABLE, SET_ZERO, Feedback, Mit
from drivers.motors.damiao.limits import MODELS
from drivers.motors.damiao.motor import Motor
from drivers.motors.damiao.options import DamiaoOptions
from drivers.ports.can import CanFrame
from drivers.state import JointState

OPTIONS = DamiaoOptions(name="legs", type="damiao", channel="can0")


def joint(**changes) -> Joint:
    return Joint(
        **{
            "name": "knee",
            "bus": "legs",
            "id": 3,
            "model": "DM4310",
            "position_min": -1.0,
            "position_max": 1.0,
            "velocity_max": 5.0,
            "acceleration_max": 50.0,
            "torque_max": 8.0,
            "kp": 20.0,
            "kd": 1.0,
        }
        | changes
    )


def motor(**changes) -> Motor:
    made = joint(**changes)
    return Motor(made, 0, made.id + 0x10, MODELS[made.model][0])


def sent(made: Motor, goal: float) -> Mit:
    frame = CanFrame.parse(made.command(goal))
    assert frame.id == made.id
    return Mit.parse(frame.data, made.limits)


signs = st.sampled_from([1, -1])
ratios = st.floats(0.5, 6)
angles = st.floats(-1, 1)


@given(signs, angles, ratios, angles)
def test_goal_reaches_the_motor_in_its_own_coordinates(sign, offset, reduction, goal):
    made = motor(sign=sign, offset=offset, reduction=reduction)
    step = 25 / 65535
    assert made.joint.to_motor(goal) - sent(made, goal).position == pytest.approx(step / 2, abs=step / 2 + 1e-8)


@given(signs, angles, ratios, angles, angles, st.floats(-2, 2))
def test_the_joint_feels_its_own_stiffness_and_damping(sign, offset, reduction, goal, at, speed):
    """The motor's law in motor coordinates, seen from the joint, is the joint's law."""
    made = motor(sign=sign, offset=offset, reduction=reduction, kp=30.0, kd=1.0)
    command = sent(made, goal)
    motor_torque = command.kp * (command.position - made.joint.to_motor(at)) + command.kd * (
        command.velocity - sign * speed * reduction
    )
    joint_torque = sign * motor_torque * reduction
    # What a step of the frame is worth at the joint: gains, goal, and the speed 0 that cannot be said.
    tolerance = reduction**2 * (500 / 4095 * 2 + 5 / 4095 * 2) + reduction * 30 * 25 / 65535 + reduction * 5 / 25
    assert joint_torque == pytest.approx(30.0 * (goal - at) - 1.0 * speed, abs=tolerance)


def test_gains_at_the_motor_are_those_at_the_joint_over_reduction_squared():
    command = sent(motor(reduction=2.0, kp=40.0, kd=2.0), 0.0)
    assert command.kp == pytest.approx(10.0, abs=500 / 4095)
    assert command.kd == pytest.approx(0.5, abs=5 / 4095)
    assert command.velocity == pytest.approx(0.0, abs=60 / 4095)
    assert command.torque == pytest.approx(0.0, abs=20 / 4095)


def test_feedback_comes_back_in_joint_coordinates():
    state = JointState(1)
    bus = DamiaoBus(OPTIONS, [joint(sign=-1, offset=0.25, reduction=2.0)], np.array([0]), state)
    port = bus._port = OneFrame(Feedback(0, 3, 1.5, 4.0, -2.0, 35, 48).pack(MODELS["DM4310"][0]), 0x13)
    bus.poll(1)
    bus.read(2)
    assert port.down is False
    assert state.position[0] == pytest.approx(-1.5 / 2 + 0.25, abs=25 / 65535)
    assert state.velocity[0] == pytest.approx(-4.0 / 2, abs=60 / 4095)
    assert state.torque[0] == pytest.approx(2.0 * 2, abs=2 * 20 / 4095)
    assert state.temperature[0] == 48


class OneFrame:
    down = False

    def __init__(self, data, can_id):
        self.frame = CanFrame(can_id, data).pack()

    def send(self, frames):
        return len(frames)

    def receive(self, limit=64):
        return [self.frame]


@given(
    st.floats(-1e100, 1e100),
    signs,
    ratios,
    st.floats(0, 1e5),
    st.floats(0, 1e4),
)
def test_no_goal_makes_a_frame_that_enables_disables_or_moves_the_zero(goal, sign, reduction, kp, kd):
    made = motor(sign=sign, reduction=reduction, kp=kp, kd=kd)
    assert CanFrame.parse(made.command(goal)).data not in (ENABLE, DISABLE, SET_ZERO, CLEAR_ERROR)


@given(st.integers(0, 65535), signs, angles, ratios)
def test_a_measured_position_is_commanded_unchanged(raw, sign, offset, reduction):
    made = motor(sign=sign, offset=offset, reduction=reduction)
    measured = raw * made.position_scale + made.position_base
    data = CanFrame.parse(made.command(measured)).data
    assert int.from_bytes(data[:2], "big") == min(raw, 65534)
    assert CanFrame.parse(made.hold(bytes([0x13]) + raw.to_bytes(2, "big") + bytes(5))).data == data


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model": "DM9999"}, "unknown model DM9999; known are DM3507, DM4310"),
        ({"kp": None}, "kp is missing"),
        ({"kd": None}, "kd is missing"),
        ({"torque_max": None}, "torque_max is missing"),
        ({"kp": 600.0}, "kp 600 Nm/rad is 600 Nm/rad at the motor; a command carries at most 500"),
        ({"kp": 600.0, "reduction": 0.5}, "is 2400 Nm/rad at the motor"),
        ({"kd": 5.5}, "kd 5.5 Nms/rad is 5.5 Nms/rad at the motor; a command carries at most 5"),
        ({"kd": 0.0}, "kp without kd makes the motor oscillate"),
        ({"kd": 0.001}, "less than the smallest step"),
        ({"torque_max": 10.1}, "torque_max 10.1 Nm; a DM4310 with reduction 1 has at most 10 Nm"),
        ({"torque_max": 20.1, "reduction": 2.0}, "has at most 20 Nm"),
        ({"position_max": 13.0}, "13.000 rad at the motor, which a DM4310 counts from -12.5 to 12.5"),
        ({"sign": -1, "offset": 12.0}, "11.000 and 13.000 rad at the motor"),
        ({"id": 0}, "id 0x0; expected 0x1 to 0xff"),
        ({"id": 0x100}, "id 0x100; expected 0x1 to 0xff"),
    ],
)
def test_each_problem_is_named(changes, text):
    problems = DamiaoBus.problems(OPTIONS, [joint(**changes)])
    assert any(text in problem for problem in problems), problems
    assert all(problem.startswith("joint knee: ") for problem in problems)


def test_good_joints_have_no_problems():
    joints = [joint(name=f"j{number}", id=number) for number in range(1, 13)]
    assert DamiaoBus.problems(OPTIONS, joints) == []
    assert DamiaoBus.problems(OPTIONS, [joint(kp=40.0, kd=2.0, torque_max=20.0, reduction=2.0)]) == []


def test_all_problems_of_all_joints_at_once():
    joints = [joint(kp=None, kd=None), joint(name="hip", torque_max=99.0), joint(name="toe", model="XM430")]
    problems = DamiaoBus.problems(OPTIONS, joints)
    assert [text.split(":")[0] for text in problems] == [
        "joint hip",  # id twice
        "joint toe",  # id twice
        "joint knee",
        "joint knee",
        "joint hip",
        "joint toe",
    ]


def test_replies_on_an_id_that_another_motor_listens_to():
    problems = DamiaoBus.problems(OPTIONS, [joint(id=1), joint(name="hip", id=0x11)])
    assert problems == [
        "joint knee: it would answer on id 0x11, on which the motor of joint hip listens; change the ids or "
        "reply_offset (now 0x10)"
    ]
    far = OPTIONS.model_copy(update={"reply_offset": 0x7FD})
    assert "expected less than 0x7ff" in DamiaoBus.problems(far, [joint()])[0]


@pytest.mark.parametrize("changes", [{"reply_offset": 0}, {"bitrate": 0}, {"watchdog": 0.01}, {"speed": 1}])
def test_options_are_checked(changes):
    with pytest.raises(ValidationError):
        DamiaoOptions(name="legs", type="damiao", channel="can0", **changes)


def test_cycle_time_is_two_frames_of_135_bits_per_motor():
    joints = [joint(name=f"j{number}", id=number) for number in range(1, 13)]
    cycle = DamiaoBus.cycle_time(OPTIONS, joints)
    assert cycle.seconds == pytest.approx(12 * 2 * 135e-6)
    assert "12 motors x 2 frames" in cycle.explanation
    assert "3.240 ms" in cycle.explanation
    half = OPTIONS.model_copy(update={"bitrate": 500_000})
    assert DamiaoBus.cycle_time(half, joints).seconds == pytest.approx(2 * cycle.seconds)


def test_errors_in_words():
    bus: Bus = DamiaoBus(OPTIONS, [joint()], np.array([0]), JointState(1))
    words = {code: bus.explain(code) for code in (*range(8, 15), TORQUE_LOST)}
    assert len(set(words.values())) == 8
    assert "rotor" in words[0xC]
    assert "watchdog" in words[0xD]
    assert "unknown error 0x5" in bus.explain(5)
