from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.motors.damiao import frames
from drivers.motors.damiao.frames import Feedback, Mit, Parameter, PosForce, PosVel, Vel
from drivers.motors.damiao.limits import MODELS, Limits

DM4310 = MODELS["DM4310"][0]
TOP = Mit(12.5, 30, 500, 5, 10)
BOTTOM = Mit(-12.5, -30, 0, 0, -10)


@pytest.mark.parametrize(
    ("command", "data"),
    [
        (Mit(), "7F FF 7F F0 00 00 07 FF"),
        (Mit(position=1, kp=30, kd=1), "8A 3C 7F F0 F5 33 37 FF"),
        (Mit(-1.5, 2, 50, 1.5, 0.5), "70 A3 88 81 99 4C C8 65"),
        (TOP, "FF FF FF FF FF FF FF FF"),
        (BOTTOM, "00 00 00 00 00 00 00 00"),
        (Mit(99, 99, 9999, 99, 99), "FF FF FF FF FF FF FF FF"),
        (Mit(-99, -99, -9, -9, -99), "00 00 00 00 00 00 00 00"),
    ],
)
def test_mit_vectors(command, data):
    assert command.pack(DM4310) == bytes.fromhex(data)


@pytest.mark.parametrize(
    ("feedback", "data"),
    [
        (Feedback(1, 1, 1.0, 0.0, 0.0, 35, 33), "11 8A 3C 7F F7 FF 23 21"),
        (Feedback(0xD, 1, 0.0, 0.0, 0.0, 35, 33), "D1 7F FF 7F F7 FF 23 21"),
    ],
)
def test_feedback_vectors(feedback, data):
    assert feedback.pack(DM4310) == bytes.fromhex(data)
    parsed = Feedback.parse(bytes.fromhex(data), DM4310)
    assert (parsed.status, parsed.motor, parsed.mosfet, parsed.rotor) == (feedback.status, 1, 35, 33)
    assert parsed.position == pytest.approx(feedback.position, abs=25 / 65535)
    assert parsed.velocity == pytest.approx(0, abs=60 / 4095)
    assert parsed.torque == pytest.approx(0, abs=20 / 4095)


@pytest.mark.parametrize(
    ("parameter", "data"),
    [
        (Parameter(1, frames.READ, frames.PMAX), "01 00 33 15 00 00 00 00"),
        (Parameter(1, frames.READ, frames.PMAX, 12.5), "01 00 33 15 00 00 48 41"),
        (Parameter(1, frames.WRITE, frames.CTRL_MODE, 1), "01 00 55 0A 01 00 00 00"),
        (Parameter(1, frames.WRITE, frames.TIMEOUT, 2000), "01 00 55 09 D0 07 00 00"),
    ],
)
def test_parameter_vectors(parameter, data):
    assert parameter.pack() == bytes.fromhex(data)
    assert Parameter.parse(bytes.fromhex(data)) == parameter


def test_refresh_and_other_modes():
    assert frames.refresh(1) == bytes.fromhex("01 00 CC 00 00 00 00 00")
    assert frames.refresh(0x123) == bytes.fromhex("23 01 CC 00 00 00 00 00")
    assert PosVel(1, 2).pack() == bytes.fromhex("00 00 80 3F 00 00 00 40")
    assert PosForce(1, 2, 0.5).pack() == bytes.fromhex("00 00 80 3F C8 00 88 13")
    assert PosVel.parse(PosVel(1, 2).pack()) == PosVel(1, 2)
    assert PosForce.parse(PosForce(1, 2, 0.5).pack()) == PosForce(1, 2, 0.5)
    assert Vel.parse(Vel(-1.5).pack()) == Vel.parse(Vel(-1.5).pack() + bytes(4)) == Vel(-1.5)


def test_special_frames():
    assert frames.CLEAR_ERROR.hex(" ") == "ff ff ff ff ff ff ff fb"
    assert frames.ENABLE.hex(" ") == "ff ff ff ff ff ff ff fc"
    assert frames.DISABLE.hex(" ") == "ff ff ff ff ff ff ff fd"
    assert frames.SET_ZERO.hex(" ") == "ff ff ff ff ff ff ff fe"


@pytest.mark.parametrize("size", [0, 7, 9])
def test_wrong_length_is_refused(size):
    with pytest.raises(ValueError, match="8 bytes"):
        Feedback.parse(bytes(size), DM4310)
    with pytest.raises(ValueError, match="8 bytes"):
        Parameter.parse(bytes(size))


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        Mit(position=float("nan")).pack(DM4310)


any_limits = st.sampled_from([limits for known in MODELS.values() for limits in known])


def steps(limits: Limits) -> Mit:
    return Mit(
        2 * limits.position / 65535,
        2 * limits.velocity / 4095,
        500 / 4095,
        5 / 4095,
        2 * limits.torque / 4095,
    )


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0, 1), st.floats(0, 1), st.floats(-1, 1), any_limits)
def test_mit_round_trip_loses_less_than_a_step(p, v, kp, kd, t, limits):
    sent = Mit(p * limits.position, v * limits.velocity, kp * 500, kd * 5, t * limits.torque)
    found = Mit.parse(sent.pack(limits), limits)
    step = steps(limits)
    for name in ("position", "velocity", "kp", "kd", "torque"):
        lost = getattr(sent, name) - getattr(found, name)
        assert -1e-5 * getattr(step, name) <= lost < getattr(step, name) * 1.00001


@given(st.binary(min_size=8, max_size=8), any_limits)
def test_every_payload_survives_decoding_and_encoding(data, limits):
    assert Mit.parse(data, limits).pack(limits) == data
    assert Feedback.parse(data, limits).pack(limits) == data


@given(
    st.integers(0, 0x7FF),
    st.sampled_from([frames.READ, frames.WRITE]),
    st.integers(0, 81),
    st.binary(min_size=4, max_size=4),
)
def test_parameters_survive(motor, command, number, value):
    data = motor.to_bytes(2, "little") + bytes([command, number]) + value
    parsed = Parameter.parse(data)
    if parsed.value == parsed.value:  # not a NaN, whose bits may change
        assert parsed.pack() == data
    assert frames.is_parameter(data, motor)
    assert not frames.is_parameter(data, motor ^ 1)


@given(st.floats(-1, 1), st.floats(-0.3, 1), st.integers(0, 1), any_limits)
def test_feedback_of_a_slow_motor_is_never_taken_for_a_parameter(p, v, status, limits):
    data = Feedback(status, 1, p * limits.position, v * limits.velocity, 0, 30, 30).pack(limits)
    assert not frames.is_parameter(data, 1)
