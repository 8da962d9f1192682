"""The bus against emulated servos over a pseudo terminal: the tick."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from drivers.motors.dynamixel import faults, frames
from drivers.motors.dynamixel.frames import Code, Status
from drivers.motors.dynamixel.table import POSITION_UNIT

PLACES = {"base": 3, "shoulder": 2, "wrist": 1}
"""Places of the joints in the robot's arrays; see `make_bus`."""
TICK_NS = 10_000_000
JOINTS = [PLACES[name] for name in ("base", "shoulder", "wrist")]


def goals(base: float, shoulder: float, wrist: float) -> list[float]:
    """Goals of the whole robot: the bus's joints lie in reverse order at 1 to 3."""
    return [math.nan, wrist, shoulder, base, math.nan]


def codes(arm) -> list[int]:
    return [packet.code for packet in arm.rig.heard]


@pytest.mark.parametrize("firmware", [46, 40], ids=["fast sync read", "sync read"])
async def test_a_reading_in_joint_coordinates(arm, firmware: int) -> None:
    one = await arm(firmware)
    one.rig.axes["shoulder"].velocity = -1.0
    one.rig.axes["shoulder"].torque = 2.0
    one.rig.axes["wrist"].torque = 1.0
    await one.tick()
    state = one.state
    # joint = sign * motor / reduction + offset
    assert state.position[PLACES["base"]] == pytest.approx(0.25, abs=POSITION_UNIT / 2)
    assert state.position[PLACES["shoulder"]] == pytest.approx(0.4 + 0.5, abs=POSITION_UNIT / 2)
    assert state.position[PLACES["wrist"]] == pytest.approx(0.4, abs=POSITION_UNIT / 4)
    assert state.velocity[PLACES["shoulder"]] == pytest.approx(1.0, abs=0.013)
    assert state.torque[PLACES["shoulder"]] == pytest.approx(-2.0, abs=0.01)
    assert np.isnan(state.torque[PLACES["wrist"]])  # it reports a load in per cent
    assert state.voltage[JOINTS] == pytest.approx(12.0)
    assert state.temperature[JOINTS] == pytest.approx(30.0)
    assert state.stamp_ns[JOINTS].tolist() == [TICK_NS] * 3
    assert not state.fault.any()
    assert np.isnan(state.position[[0, 4]]).all()
    assert not state.stamp_ns[[0, 4]].any()
    assert one.bus.fast == (firmware == 46)
    assert codes(one)[-1] == (Code.FAST_SYNC_READ if firmware == 46 else Code.SYNC_READ)
    assert (one.bus.counters.sent, one.bus.counters.received, one.bus.counters.lost) == (1, 3, 0)


async def test_goals_reach_the_motors(arm) -> None:
    one = await arm()
    await one.bus.enable()
    await one.tick(goals(1.0, -0.7, -0.3))
    for axis in one.rig.axes.values():
        axis.settle()
    await one.tick(goals(1.0, -0.7, -0.3))
    assert one.rig.axes["base"].position == pytest.approx(1.0, abs=POSITION_UNIT)
    assert one.rig.axes["shoulder"].position == pytest.approx(1.2, abs=POSITION_UNIT)
    assert one.rig.axes["wrist"].position == pytest.approx(-0.6, abs=POSITION_UNIT)
    assert one.state.position[[3, 2, 1]] == pytest.approx([1.0, -0.7, -0.3], abs=POSITION_UNIT)
    assert one.bus.counters.sent == 4


async def test_a_goal_outside_the_servo_s_range_is_held_at_its_end(arm) -> None:
    one = await arm()
    await one.bus.enable()
    await one.tick(goals(9.0, 0.5, 0.0))
    assert one.rig.servo("base").table.read(116, 4)[1] == (4095).to_bytes(4, "little")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
async def test_a_goal_that_is_no_number_is_not_sent_but_the_state_is_still_asked_for(arm, bad: float) -> None:
    one = await arm()
    await one.bus.enable()
    count = codes(one).count(Code.SYNC_WRITE)
    one.now_ns += TICK_NS
    one.bus.command(one.now_ns, np.array(goals(0.0, bad, 0.0)))
    await one.rig.until(lambda: one.rig.heard[-1].code == Code.FAST_SYNC_READ)
    assert codes(one).count(Code.SYNC_WRITE) == count
    assert one.bus.counters.unsent == 1


async def test_goals_that_look_like_a_header_are_stuffed(rig, make_joint, make_bus) -> None:
    # Pulses 0xFFFDFFFF: only in the extended mode, behind a gear.
    joint = make_joint("far", 1, reduction=100.0, position_min=-15.0, position_max=15.0)
    wires = rig([("far", 1, "XM430-W350", 0.0)])
    bus, _ = make_bus(wires.path, [joint])
    await bus.connect()
    assert wires.servo("far").table.read(11, 1)[1] == b"\x04"
    await bus.enable()
    angle = joint.from_motor((-131073 - 2048) * POSITION_UNIT)
    raw = []
    wires.hear = lambda data: raw.append(data) or data
    await wires.cycle(bus, TICK_NS, np.array([0.0, angle, 0.0]))
    assert wires.servo("far").table.read(116, 4)[1] == b"\xff\xff\xfd\xff"
    assert b"\x01\xff\xff\xfd\xfd\xff" in b"".join(raw)
    await bus.close()


@pytest.mark.parametrize("firmware", [46, 40])
async def test_one_byte_at_a_time(arm, firmware: int) -> None:
    one = await arm(firmware)
    one.rig.hold()
    one.bus.poll(TICK_NS)
    await one.rig.until(lambda: len(one.rig.held) == (1 if firmware == 46 else 3))
    for reply in one.rig.held:
        for byte in reply:
            one.rig.held = []
            await one.rig.until(lambda: one.rig._waiting(one.bus) == 0)
            one.rig._write(bytes((byte,)))
            await one.rig.until(lambda: one.rig._waiting(one.bus) == 1)
            one.bus.read(TICK_NS)
    assert one.bus.counters.received == 3
    assert one.bus.counters.corrupt == 0


async def test_a_missing_reply_ages_one_joint_and_is_counted(arm) -> None:
    one = await arm(firmware=40)
    await one.tick()
    one.rig.devices.fault("shoulder", "dead")
    for _ in range(3):
        await one.tick()
    assert one.state.missed[JOINTS].tolist() == [0, 2, 0]
    assert one.bus.counters.lost == 2
    assert one.state.stamp_ns[JOINTS].tolist() == [4 * TICK_NS, TICK_NS, 4 * TICK_NS]
    assert one.state.position[PLACES["shoulder"]] == pytest.approx(0.9, abs=POSITION_UNIT)


async def test_a_dead_motor_makes_the_bus_fall_back_to_plain_sync_read(arm) -> None:
    one = await arm()
    await one.tick()
    one.rig.devices.fault("shoulder", "dead")
    await one.tick()
    await one.tick()
    assert one.bus.fast
    # The dead one cuts the fast reply off for those behind it ...
    assert one.state.stamp_ns[JOINTS].tolist() == [3 * TICK_NS, TICK_NS, TICK_NS]
    await one.tick()
    await one.tick()
    assert not one.bus.fast
    assert one.bus.fallbacks == 1
    # ... which the plain one does not.
    assert one.state.stamp_ns[JOINTS].tolist() == [5 * TICK_NS, TICK_NS, 5 * TICK_NS]
    assert one.state.missed[JOINTS].tolist() == [0, 3, 0]


@pytest.mark.parametrize("firmware", [46, 40])
@pytest.mark.parametrize("delay", [1, 2])
async def test_late_replies_are_dated_by_the_request_that_they_answer(arm, firmware: int, delay: int) -> None:
    one = await arm(firmware)
    rig, bus, state = one.rig, one.bus, one.state
    replies_each = 1 if firmware == 46 else 3
    rig.hold()
    for tick in range(1, 12):
        count = len(rig.held)
        bus.poll(tick * TICK_NS)
        await rig.until(lambda count=count: len(rig.held) == count + replies_each)
        if tick > delay:
            written = rig.written
            for reply in rig.held[:replies_each]:
                rig._write(reply)
            del rig.held[:replies_each]
            await rig.until(lambda written=written: rig._waiting(bus) == rig.written - written)
        bus.read(tick * TICK_NS)
        if tick > delay:
            assert state.stamp_ns[JOINTS].tolist() == [(tick - delay) * TICK_NS] * 3
            assert not state.missed[JOINTS].any()
    assert bus.counters.late == 3 * (11 - delay)
    assert bus.counters.lost == 3 * 10
    assert bus.counters.received == 0
    assert bus.fast == (firmware == 46)


async def test_two_replies_glued_together_count_once_late_and_once_in_time(arm) -> None:
    one = await arm(firmware=40)
    one.rig.hold()
    one.bus.poll(TICK_NS)
    await one.rig.until(lambda: len(one.rig.held) == 3)
    one.bus.read(TICK_NS)
    one.bus.poll(2 * TICK_NS)
    await one.rig.until(lambda: len(one.rig.held) == 6)
    assert one.state.missed[JOINTS].tolist() == [1, 1, 1]
    one.rig.release()
    await one.rig.until(lambda: one.rig._waiting(one.bus) > 0)
    await one.rig.until(lambda: one.rig._waiting(one.bus) == 6 * 11 + 3 * 18 + 3 * 20)
    one.bus.read(2 * TICK_NS)
    counters = one.bus.counters
    assert (counters.late, counters.received, counters.lost) == (3, 3, 3)
    assert one.state.stamp_ns[JOINTS].tolist() == [2 * TICK_NS] * 3
    assert one.state.missed[JOINTS].tolist() == [0, 0, 0]


@pytest.mark.parametrize("firmware", [46, 40])
async def test_twenty_per_cent_loss(arm, firmware: int) -> None:
    one = await arm(firmware)
    rng = np.random.default_rng(3)
    one.rig.mangle = lambda reply: b"" if rng.random() < 0.2 else reply
    for _ in range(100):
        await one.tick()
    one.rig.mangle = bytes
    await one.tick()
    counters = one.bus.counters
    assert counters.received + counters.lost == 3 * 101
    assert counters.lost > 30
    assert (counters.late, counters.corrupt, counters.foreign) == (0, 0, 0)
    assert one.state.stamp_ns[JOINTS].tolist() == [101 * TICK_NS] * 3
    assert not one.state.fault.any()


@pytest.mark.parametrize("firmware", [46, 40])
async def test_damaged_replies_never_become_a_reading(arm, firmware: int) -> None:
    one = await arm(firmware)
    rng = np.random.default_rng(8)

    def damage(reply: bytes) -> bytes:
        keep = rng.random(len(reply))
        return bytes(
            byte ^ (1 << int(rng.integers(8)) if chance < 0.005 else 0)
            for byte, chance in zip(reply, keep, strict=True)
            if chance < 0.995
        )

    one.rig.mangle = damage
    await one.tick()
    for _ in range(150):
        one.bus.read(one.now_ns)
        await one.tick()
        for name, angle in (("base", 0.25), ("shoulder", 0.9), ("wrist", 0.4)):
            position = one.state.position[PLACES[name]]
            assert np.isnan(position) or position == pytest.approx(angle, abs=POSITION_UNIT)
    assert one.bus.counters.corrupt > 20
    assert one.bus.counters.received > 150
    one.rig.mangle = bytes
    for _ in range(3):
        await one.tick()
    assert one.state.stamp_ns[JOINTS].tolist() == [one.now_ns] * 3


async def test_an_adapter_that_echoes_does_no_harm(arm) -> None:
    one = await arm(connect=False)
    one.rig.echo = True
    await one.bus.connect()
    await one.bus.enable()
    for _ in range(5):
        await one.tick(goals(0.1, 0.2, 0.3))
    counters = one.bus.counters
    assert (counters.received, counters.foreign, counters.corrupt, counters.lost) == (15, 0, 0, 0)


async def test_replies_that_nobody_asked_for_are_foreign(arm) -> None:
    one = await arm()
    # From a motor of ours, but nobody has asked it yet.
    strange = [Status(77, 0, bytes(16)).pack(), frames.ping(3), Status(1, 0, bytes(16)).pack()]
    one.rig._write(b"".join(strange))
    await one.rig.until(lambda: one.rig._waiting(one.bus) == len(b"".join(strange)))
    one.bus.read(one.now_ns)
    assert one.bus.counters.foreign == 3
    assert not one.state.fault.any()
    await one.tick()
    assert (one.bus.counters.foreign, one.bus.counters.received) == (3, 3)


async def test_a_refused_read_is_no_reading(arm) -> None:
    one = await arm(firmware=40)
    await one.tick()
    one.rig.mangle = lambda reply: Status(2, 7).pack() if reply[4] == 2 else reply
    await one.tick()
    await one.tick()
    assert one.bus.counters.corrupt == 2
    assert one.state.missed[PLACES["shoulder"]] == 1
    assert one.state.stamp_ns[PLACES["shoulder"]] == TICK_NS


async def test_a_hardware_error_is_named(arm) -> None:
    one = await arm()
    await one.bus.enable()
    await one.tick(goals(0.0, 0.5, 0.0))
    one.rig.devices.fault("shoulder", "over_temperature", 5.0)
    one.rig.skip(0.01)
    await one.tick(goals(0.0, 0.5, 0.0))
    fault = int(one.state.fault[PLACES["shoulder"]])
    assert "overheating" in one.bus.explain(fault)
    assert "torque is off" in one.bus.explain(fault)
    assert one.state.fault[[3, 1]].tolist() == [0, 0]
    assert one.state.temperature[PLACES["shoulder"]] == 85.0
    assert one.state.stamp_ns[PLACES["shoulder"]] == 2 * TICK_NS


async def test_a_brown_out_is_noticed_in_the_first_answer_and_its_reading_is_not_used(arm) -> None:
    one = await arm(firmware=40, watchdog=1.0)
    await one.bus.enable()
    await one.tick(goals(0.0, 0.5, 0.0))
    before = one.state.position[PLACES["shoulder"]]
    one.rig.devices.fault("shoulder", "brown_out")
    one.rig.axes["shoulder"].position = 1.0
    one.rig.skip(0.5)
    await one.tick(goals(0.0, 0.5, 0.0))
    assert one.state.fault[JOINTS].tolist() == [0, faults.RESTARTED, 0]
    assert "restarted" in one.bus.explain(faults.RESTARTED)
    assert one.state.position[PLACES["shoulder"]] == before
    assert one.state.stamp_ns[PLACES["shoulder"]] == TICK_NS
    assert not one.rig.servo("shoulder").torque_on


async def test_torque_that_is_switched_off_by_somebody_else_is_noticed(arm) -> None:
    one = await arm()
    await one.bus.enable()
    await one.tick(goals(0.0, 0.5, 0.0))
    one.rig.servo("wrist").write(64, b"\0")
    await one.tick(goals(0.0, 0.5, 0.0))
    assert one.state.fault[JOINTS].tolist() == [0, 0, faults.TORQUE_LOST]


@pytest.mark.parametrize("bit", [0x01, 0x04, 0x08, 0x10, 0x20, 0x80, 0x100, 0x200, 0x400, 0x40])
def test_every_fault_bit_has_words(make_bus, make_joint, bit: int) -> None:
    bus, _ = make_bus("/dev/null", [make_joint("base", 1)])
    words = bus.explain(bit)
    assert len(words) > 5
    assert Counter(words)["_"] == 0
    assert bus.explain(0) == "no fault"


async def test_motors_at_different_block_addresses_are_asked_by_bulk_read(make_bus, make_joint) -> None:
    bus, _ = make_bus("/dev/null", [make_joint("big", 1), make_joint("small", 2, "XL330-M288")])
    bus._use(fast=True)
    request = frames.Instruction.parse(bus._requests[0])
    assert request.code == Code.FAST_BULK_READ
    assert request.params == bytes((1, 224, 0, 16, 0, 2, 208, 0, 16, 0))
    bus._use(fast=False)
    assert frames.Instruction.parse(bus._requests[2]).code == Code.BULK_READ


async def test_a_port_that_goes_away_never_raises_in_the_tick(arm) -> None:
    one = await arm()
    await one.bus.enable()
    await one.tick(goals(0.0, 0.5, 0.0))
    one.rig.close()
    for tick in range(2, 6):
        one.bus.read(tick * TICK_NS)
        one.bus.command(tick * TICK_NS, np.array(goals(0.0, 0.5, 0.0)))
    one.bus.torque_off()
    assert one.bus.counters.unsent > 0
    assert one.state.missed[JOINTS].tolist() == [3, 3, 3]
