from __future__ import annotations

import random

import pytest

from drivers.emulated.axis import MotorAxis
from drivers.joint import Joint


class JointShaft:
    """A joint axis whose state the test sets and whose law it reads."""

    def __init__(self) -> None:
        self.position = 0.0
        self.velocity = 0.0
        self.torque = 0.0
        self.law = (0.0, 0.0, 0.0, 0.0)

    def drive(self, kp: float, kd: float, bias: float, limit: float) -> None:
        self.law = (kp, kd, bias, limit)

    def limp(self) -> None:
        self.law = (0.0, 0.0, 0.0, 0.0)


def torque_of(law: tuple[float, float, float, float], position: float, velocity: float) -> float:
    kp, kd, bias, limit = law
    return max(-limit, min(limit, bias - kp * position - kd * velocity))


CASES = [(1, 0.0, 1.0), (-1, 0.0, 1.0), (1, 0.7, 1.0), (-1, -0.4, 3.0), (1, 1.2, 6.33), (-1, 0.5, 0.5)]


@pytest.mark.parametrize(("sign", "offset", "reduction"), CASES)
def test_position_follows_the_joint_model(sign: int, offset: float, reduction: float) -> None:
    joint = Joint(
        name="j",
        bus="b",
        id=1,
        model="m",
        sign=1 if sign > 0 else -1,
        offset=offset,
        reduction=reduction,
        position_min=-1,
        position_max=1,
        velocity_max=1,
        acceleration_max=1,
    )
    shaft = JointShaft()
    axis = MotorAxis(shaft, sign, offset, reduction)
    for angle in (-1.0, 0.0, 0.3, 2.0):
        shaft.position = angle
        assert axis.position == pytest.approx(joint.to_motor(angle))
        assert joint.from_motor(axis.position) == pytest.approx(angle)


@pytest.mark.parametrize(("sign", "offset", "reduction"), CASES)
def test_power_is_the_same_on_both_sides(sign: int, offset: float, reduction: float) -> None:
    shaft = JointShaft()
    shaft.velocity, shaft.torque = 1.7, -2.5
    axis = MotorAxis(shaft, sign, offset, reduction)
    assert axis.velocity == pytest.approx(sign * 1.7 * reduction)
    assert axis.velocity * axis.torque == pytest.approx(shaft.velocity * shaft.torque)


@pytest.mark.parametrize(("sign", "offset", "reduction"), CASES)
def test_drive_law_gives_the_torque_that_the_motor_would_give(sign: int, offset: float, reduction: float) -> None:
    rng = random.Random(4)
    shaft = JointShaft()
    axis = MotorAxis(shaft, sign, offset, reduction)
    clipped = 0
    for _ in range(200):
        law = (rng.uniform(0, 50), rng.uniform(0, 5), rng.uniform(-30, 30), rng.uniform(0.1, 60))
        shaft.position, shaft.velocity = rng.uniform(-2, 2), rng.uniform(-5, 5)
        axis.drive(*law)
        at_motor = torque_of(law, axis.position, axis.velocity)
        clipped += abs(at_motor) == law[3]
        at_joint = torque_of(shaft.law, shaft.position, shaft.velocity)
        assert at_joint == pytest.approx(sign * reduction * at_motor)
    assert 0 < clipped < 200


def test_limp_reaches_the_joint() -> None:
    shaft = JointShaft()
    axis = MotorAxis(shaft, -1, 0.2, 2.0)
    axis.drive(1, 1, 1, 1)
    axis.limp()
    assert shaft.law == (0.0, 0.0, 0.0, 0.0)
