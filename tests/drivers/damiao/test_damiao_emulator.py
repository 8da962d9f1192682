"""The emulated motors, frame by frame. Time is the test's."""

from __future__ import annotations

import pytest

from drivers.emulated.damiao import REPLY_NS, SAVE_NS, DamiaoDevices
from drivers.emulated.damiao_registers import REGISTERS
from drivers.emulated.devices import DeviceBus
from drivers.motors.damiao import frames
from drivers.motors.damiao.frames import (
    CLEAR_ERROR,
    DISABLE,
    ENABLE,
    SET_ZERO,
    Feedback,
    Mit,
    Parameter,
    PosForce,
    PosVel,
    Vel,
)
from drivers.motors.damiao.limits import MODELS
from drivers.ports.can import EXTENDED_FLAG, CanFrame

LIMITS = MODELS["DM4310"][0]
MS = 1_000_000


class Bench:
    """One DM4310: ESC_ID 1, MST_ID 11."""

    def __init__(self, shaft):
        self.shaft = shaft
        self.devices: DeviceBus = DamiaoDevices([("knee", 1, 0x11, "DM4310", shaft)])
        self.motor = self.devices["knee"]
        self.now = 1

    def send(self, can_id, data):
        """The answer's data, or None."""
        replies = self.devices.receive(CanFrame(can_id, data).pack(), self.now)
        if not replies:
            return None
        ((at, packed),) = replies
        assert at == self.now + REPLY_NS
        frame = CanFrame.parse(packed)
        assert frame.id == self.motor.registers[frames.MST_ID]
        return frame.data

    def feedback(self, can_id, data):
        return Feedback.parse(self.send(can_id, data), LIMITS)

    def read(self, number):
        return Parameter.parse(self.send(0x7FF, Parameter(1, frames.READ, number).pack())).value

    def write(self, number, value):
        return Parameter.parse(self.send(0x7FF, Parameter(1, frames.WRITE, number, value).pack())).value


@pytest.fixture
def bench(shaft_class):
    return Bench(shaft_class())


def test_vectors(bench):
    bench.motor.mosfet, bench.motor.rotor = 35, 33
    bench.shaft.position = 1.0
    assert bench.send(1, ENABLE) == bytes.fromhex("11 8A 3C 7F F7 FF 23 21")
    ask = bytes.fromhex("01 00 33 15 00 00 00 00")
    assert bench.send(0x7FF, ask) == bytes.fromhex("01 00 33 15 00 00 48 41")
    assert bench.send(0x7FF, bytes.fromhex("01 00 55 0A 01 00 00 00")) == bytes.fromhex("01 00 55 0A 01 00 00 00")
    assert bench.send(0x7FF, bytes.fromhex("01 00 55 09 D0 07 00 00")) == bytes.fromhex("01 00 55 09 D0 07 00 00")
    bench.shaft.position = 0.0
    bench.send(0x7FF, bytes.fromhex("01 00 CC 00 00 00 00 00"))
    bench.now += 101 * MS
    assert bench.send(0x7FF, bytes.fromhex("01 00 CC 00 00 00 00 00")) == bytes.fromhex("D1 7F FF 7F F7 FF 23 21")


def test_mit_drives_only_when_enabled(bench):
    command = Mit(1.0, 2.0, 30.0, 1.0, 0.5).pack(LIMITS)
    assert bench.feedback(1, command).status == 0
    assert bench.shaft.law == (0, 0, 0, 0)
    assert bench.feedback(1, ENABLE).status == 1
    assert bench.shaft.law == (0, 0, 0, 0)
    assert bench.feedback(1, command).status == 1
    kp, kd, bias, limit = bench.shaft.law
    assert (kp, kd, limit) == (pytest.approx(30, abs=0.13), pytest.approx(1, abs=2e-3), 10)
    assert bias == pytest.approx(30 * 1.0 + 1 * 2.0 + 0.5, abs=0.2)
    assert bench.feedback(1, DISABLE).status == 0
    assert bench.shaft.law == (0, 0, 0, 0)


def test_feedback_shows_the_shaft(bench):
    bench.shaft.position, bench.shaft.velocity, bench.shaft.torque = -2.0, 3.0, -1.5
    found = bench.feedback(0x7FF, frames.refresh(1))
    assert found.position == pytest.approx(-2, abs=4e-4)
    assert found.velocity == pytest.approx(3, abs=0.015)
    assert found.torque == pytest.approx(-1.5, abs=0.005)
    assert found.motor == 1


def test_zero(bench):
    bench.shaft.position = 2.0
    assert bench.feedback(1, SET_ZERO).position == pytest.approx(0, abs=4e-4)
    bench.send(1, ENABLE)
    bench.send(1, Mit(0.5, kp=10, kd=1).pack(LIMITS))
    assert bench.shaft.law[2] / bench.shaft.law[0] == pytest.approx(2.5, abs=0.01)
    bench.shaft.position = 2.5
    assert bench.feedback(1, SET_ZERO).position == pytest.approx(0.5, abs=4e-4)  # not while energised


def test_watchdog(bench):
    bench.write(frames.TIMEOUT, 2000)
    bench.send(1, ENABLE)
    bench.send(1, Mit(kp=10, kd=1).pack(LIMITS))
    for _ in range(5):  # every frame feeds it
        bench.now += 100 * MS
        assert bench.feedback(0x7FF, frames.refresh(1)).status == 1
    bench.now += 100 * MS + 1
    bench.devices.advance(bench.now)
    assert bench.shaft.law == (0, 0, 0, 0)
    assert bench.feedback(1, Mit(kp=10, kd=1).pack(LIMITS)).status == 0xD
    assert bench.feedback(1, ENABLE).status == 0xD
    assert bench.feedback(1, DISABLE).status == 0xD
    assert bench.feedback(1, CLEAR_ERROR).status == 0
    assert bench.feedback(1, ENABLE).status == 1


def test_a_frame_after_the_watchdogs_time_does_not_feed_it(bench):
    bench.write(frames.TIMEOUT, 2000)
    bench.send(1, ENABLE)
    bench.now += 100 * MS + 1
    assert bench.feedback(1, Mit(kp=10, kd=1).pack(LIMITS)).status == 0xD


def test_without_a_timeout_the_motor_holds_for_ever(bench):
    bench.send(1, ENABLE)
    bench.send(1, Mit(kp=10, kd=1).pack(LIMITS))
    bench.now += 3600 * 1000 * MS
    bench.devices.advance(bench.now)
    assert bench.shaft.law[0] > 0


def test_ram_and_flash(bench):
    bench.write(frames.TIMEOUT, 2000)
    bench.devices.fault("knee", "brown_out")
    assert bench.read(frames.TIMEOUT) == 0
    bench.write(frames.TIMEOUT, 1000)
    assert bench.send(0x7FF, Parameter(1, frames.SAVE).pack()) is None
    bench.now += SAVE_NS - 1
    assert bench.send(1, ENABLE) is None  # it is busy with its flash
    bench.now += 1
    assert bench.read(frames.TIMEOUT) == 1000
    bench.devices.fault("knee", "brown_out")
    assert bench.read(frames.TIMEOUT) == 1000


def test_saving_needs_a_motor_at_rest(bench):
    bench.write(frames.TIMEOUT, 1000)
    bench.send(1, ENABLE)
    bench.send(0x7FF, Parameter(1, frames.SAVE).pack())
    bench.devices.fault("knee", "brown_out")
    assert bench.read(frames.TIMEOUT) == 0


def test_every_parameter_can_be_read_and_some_can_be_written(bench):
    for number, register in REGISTERS.items():
        assert bench.read(number) is not None
        if number not in (frames.MST_ID, frames.ESC_ID, frames.CTRL_MODE):
            before = bench.read(number)
            after = bench.write(number, before + 1)
            assert after == pytest.approx(before + 1 if register.writable else before)
    assert bench.write(frames.CTRL_MODE, 5) == 1
    assert bench.write(frames.PMAX, -1.0) == pytest.approx(13.5)
    assert bench.send(0x7FF, Parameter(1, frames.READ, 40).pack()) is None


def test_measured_parameters(bench):
    bench.shaft.position = 0.5
    bench.motor.rotor = 41.0
    assert bench.read(80) == pytest.approx(5.0)
    assert bench.read(81) == pytest.approx(0.5)
    assert bench.read(62) == pytest.approx(41.0)
    assert bench.read(60) == pytest.approx(24.0)


def test_new_scales_take_effect(bench):
    bench.write(frames.PMAX, 6.25)
    bench.shaft.position = 3.125
    assert int.from_bytes(bench.send(0x7FF, frames.refresh(1))[1:3], "big") == pytest.approx(49151, abs=1)


def test_new_ids_take_effect(bench):
    assert bench.write(frames.ESC_ID, 5) == 5
    assert bench.send(1, ENABLE) is None
    assert Feedback.parse(bench.send(5, ENABLE), LIMITS).motor == 5
    bench.send(0x7FF, Parameter(5, frames.WRITE, frames.MST_ID, 0x21).pack())
    assert bench.send(5, DISABLE) is not None  # checked by send: it comes from the new id


def test_other_modes(bench):
    assert bench.send(0x101, PosVel(1, 2).pack()) is None  # not its mode
    bench.write(frames.CTRL_MODE, frames.MODE_POS_VEL)
    assert bench.send(1, Mit().pack(LIMITS)) is None
    assert bench.feedback(0x101, ENABLE).status == 1
    bench.devices.advance(bench.now)
    assert bench.feedback(0x101, PosVel(1.0, 2.0).pack()).status == 1
    bench.now += 250 * MS
    bench.devices.advance(bench.now)
    assert bench.shaft.law[2] / bench.shaft.law[0] == pytest.approx(0.5)  # on its way at 2 rad/s
    bench.now += 1000 * MS
    bench.devices.advance(bench.now)
    assert bench.shaft.law[2] / bench.shaft.law[0] == pytest.approx(1.0)
    assert bench.shaft.law[3] == 10

    bench.write(frames.CTRL_MODE, frames.MODE_POS_FORCE)
    assert bench.shaft.law == (0, 0, 0, 0)
    bench.send(0x301, PosForce(1.0, 2.0, 0.5).pack())
    assert bench.shaft.law[3] == pytest.approx(5.0)

    bench.write(frames.CTRL_MODE, frames.MODE_VEL)
    for data in (Vel(1.5).pack(), Vel(1.5).pack() + bytes(4)):
        assert bench.send(0x201, data) is not None
        assert bench.shaft.law[0] == 0
        assert bench.shaft.law[2] / bench.shaft.law[1] == pytest.approx(1.5)
    assert bench.send(0x201, Vel(float("nan")).pack()) is None
    assert bench.send(0x201, b"\0") is None


def test_frames_that_are_not_for_it(bench):
    assert bench.send(2, ENABLE) is None
    assert bench.send(1 | EXTENDED_FLAG, ENABLE) is None
    assert bench.send(1, ENABLE[:7]) is None
    assert bench.send(0x7FF, b"\x01") is None
    assert bench.send(0x7FF, Parameter(2, frames.READ, 7).pack()) is None
    assert bench.send(0x7FF, Parameter(0x101, frames.READ, 7).pack()) is None
    assert bench.devices.receive(b"short", bench.now) == []
    assert bench.devices.receive(bytes(17), bench.now) == []
    assert bench.motor.status == 0


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("over_temperature", 0xC),
        ("over_voltage", 0x8),
        ("under_voltage", 0x9),
        ("over_current", 0xA),
        ("overload", 0xE),
    ],
)
def test_errors_latch_until_cause_and_error_are_cleared(bench, kind, status):
    bench.send(1, ENABLE)
    bench.send(1, Mit(kp=10, kd=1).pack(LIMITS))
    bench.devices.fault("knee", kind)
    assert bench.shaft.law == (0, 0, 0, 0)
    assert bench.feedback(1, Mit(kp=10, kd=1).pack(LIMITS)).status == status
    assert bench.feedback(1, ENABLE).status == status
    lasting = kind not in ("overload", "over_current")
    assert bench.feedback(1, CLEAR_ERROR).status == (status if lasting else 0)
    bench.devices.fault("knee", "clear")
    assert bench.feedback(1, CLEAR_ERROR).status == 0
    assert bench.feedback(1, ENABLE).status == 1


def test_a_hot_motor_says_so(bench):
    bench.devices.fault("knee", "over_temperature", 130.0)
    assert bench.feedback(0x7FF, frames.refresh(1)).rotor == 130


def test_a_dead_motor_comes_back_as_after_a_restart(bench):
    bench.write(frames.TIMEOUT, 2000)
    bench.send(1, ENABLE)
    bench.send(1, Mit(kp=10, kd=1).pack(LIMITS))
    bench.devices.fault("knee", "dead")
    assert bench.shaft.law == (0, 0, 0, 0)
    assert bench.send(1, ENABLE) is None
    assert bench.send(0x7FF, frames.refresh(1)) is None
    bench.devices.fault("knee", "clear")
    assert bench.feedback(0x7FF, frames.refresh(1)).status == 0
    assert bench.read(frames.TIMEOUT) == 0


def test_brown_out_is_silent_and_limp(bench):
    bench.send(1, ENABLE)
    bench.send(1, Mit(kp=10, kd=1).pack(LIMITS))
    bench.devices.fault("knee", "brown_out")
    assert bench.shaft.law == (0, 0, 0, 0)
    assert bench.feedback(1, Mit(kp=10, kd=1).pack(LIMITS)).status == 0


def test_full_torque_overheats_the_rotor(bench):
    bench.send(1, ENABLE)
    bench.shaft.torque = 10.0
    for _ in range(600):
        bench.now += 100 * MS
        bench.devices.advance(bench.now)
    assert bench.feedback(0x7FF, frames.refresh(1)).status == 0xC


def test_a_third_of_the_torque_does_not(bench):
    bench.send(1, ENABLE)
    bench.shaft.torque = 10.0 / 3
    for _ in range(6000):
        bench.now += 100 * MS
        bench.devices.advance(bench.now)
    found = bench.feedback(0x7FF, frames.refresh(1))
    assert found.status == 1
    assert 40 < found.rotor < 50


def test_mistakes_of_the_caller(bench, shaft_class):
    with pytest.raises(ValueError, match="no fault melted"):
        bench.devices.fault("knee", "melted")
    with pytest.raises(KeyError, match="no joint elbow"):
        bench.devices.fault("elbow", "dead")
    with pytest.raises(ValueError, match="unknown model DM1"):
        DamiaoDevices([("knee", 1, 0x11, "DM1", shaft_class())])
    with pytest.raises(ValueError, match="both listen on id 0x1"):
        DamiaoDevices([(name, 1, 0x11, "DM4310", shaft_class()) for name in ("a", "b")])
