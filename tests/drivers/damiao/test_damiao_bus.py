"""The bus against emulated motors over a real socket that carries CAN frames."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from drivers.errors import BusError, PortError
from drivers.motors.damiao import frames
from drivers.motors.damiao.bus import TORQUE_LOST
from drivers.motors.damiao.frames import DISABLE, DISABLED, ENABLE, ENABLED
from drivers.motors.damiao.limits import Limits
from drivers.ports.can import RETRY_NS, CanFrame

NAMES = ("hip", "thigh", "calf")


def statuses(rig):
    return [rig.devices[name].status for name in NAMES]


async def measure(rig, now):
    """One poll and its answers."""
    rig.bus.poll(now)
    await rig.answered(3)
    rig.bus.read(now + 1)


async def test_connect_finds_all_and_never_energises(rig):
    assert rig.bus.unwatched == list(NAMES)
    await rig.bus.connect()
    assert rig.bus.unwatched == []
    assert rig.wire.sent(ENABLE) == []
    assert statuses(rig) == [DISABLED] * 3
    assert [rig.devices[name].registers[frames.TIMEOUT] for name in NAMES] == [2000] * 3
    assert rig.bus.notes == [
        "joint hip: DM8006, firmware 5013",
        "joint thigh: DM4310, firmware 5013",
        "joint calf: DM4340, firmware 5013",
    ]
    assert rig.bus.warnings == []
    assert rig.bus.busy is False
    await measure(rig, 100)
    assert rig.state.position[[1, 2, 4]] == pytest.approx([0.1] * 3, abs=1e-3)
    assert np.isnan(rig.state.position[[0, 3]]).all()
    assert rig.bus.counters.lost == 0


async def test_every_difference_is_told_at_once(rig):
    rig.devices["hip"].registers.write(frames.PMAX, 6.25)
    rig.devices["thigh"].break_down("dead", 1)
    rig.devices["calf"].registers.write(frames.MST_ID, 0)
    rig.devices["hip"]._limits = rig.devices["hip"].registers.limits
    with pytest.raises(BusError) as raised:
        await rig.bus.connect()
    assert raised.value.problems == (
        "joint hip (id 0x1): the motor says PMAX 6.25 rad, VMAX 45 rad/s, TMAX 40 Nm; a DM8006 has PMAX 12.5 rad, "
        "VMAX 45 rad/s, TMAX 40 Nm; correct `model`, or set the motor's parameters 21 to 23 with the maker's tool",
        "joint thigh (id 0x2): no answer; check power, wiring, termination, bit rate and id",
        "joint calf (id 0x13): answers on id 0x0, expected 0x53; set its MST_ID (parameter 7) to 0x53 with the "
        "maker's tool, or change reply_offset",
    )
    assert rig.wire.sent(ENABLE) == []
    assert rig.bus.busy is False
    rig.bus.poll(1)
    assert rig.bus.counters.unsent == 3  # the port is closed again


async def test_both_known_scales_of_a_model_are_accepted_and_used(rig):
    calf = rig.devices["calf"]
    calf.registers.write(frames.VMAX, 10.0)
    calf._limits = calf.registers.limits
    await rig.bus.connect()
    rig.shafts["calf"].velocity = 3.0
    await measure(rig, 100)
    assert calf._limits == Limits(12.5, 10, 28)
    assert rig.state.velocity[4] == pytest.approx(3.0 / 1.5, abs=0.01)


async def test_a_motor_found_energised_is_switched_off_and_told(rig):
    rig.devices["thigh"].status = ENABLED
    await rig.bus.connect()
    assert statuses(rig) == [DISABLED] * 3
    assert rig.wire.sent(DISABLE) == [2]
    assert rig.bus.warnings == ["joint thigh: its motor was found energised and has been switched off"]


async def test_another_mode_is_put_right_in_ram(rig):
    rig.devices["calf"].registers.write(frames.CTRL_MODE, frames.MODE_VEL)
    rig.devices["calf"].registers.save()
    await rig.bus.connect()
    assert rig.devices["calf"].registers[frames.CTRL_MODE] == frames.MODE_MIT
    assert rig.devices["calf"].registers.flash[frames.CTRL_MODE] == frames.MODE_VEL
    assert "joint calf: CTRL_MODE was 3, now 1 (MIT)" in rig.bus.notes
    assert not [frame for frame in rig.wire.frames if frame.data[2:3] == bytes([frames.SAVE])]


async def test_a_motor_that_does_not_take_its_set_up_is_refused(rig, monkeypatch):
    hip, calf = rig.devices["hip"].registers, rig.devices["calf"].registers
    calf.write(frames.CTRL_MODE, frames.MODE_VEL)
    monkeypatch.setattr(hip, "write", lambda *_: False)
    monkeypatch.setattr(calf, "write", lambda *_: False)
    with pytest.raises(BusError) as raised:
        await rig.bus.connect()
    hip_text, calf_mode, calf_text = raised.value.problems
    assert "joint hip (id 0x1): TIMEOUT (parameter 9, its watchdog) is 0 after writing 2000" in hip_text
    assert "CTRL_MODE (parameter 10) stays 3" in calf_mode
    assert "TIMEOUT" in calf_text
    assert rig.bus.unwatched == ["hip", "calf"]


async def test_a_bus_that_is_not_there(rig):
    rig.wire.hang_up()
    with pytest.raises(PortError, match="start the program that listens there"):
        await rig.bus.connect()
    with pytest.raises(BusError, match="not connected"):
        await rig.bus.enable()


async def test_run(rig):
    """Connect, energise, follow, rest."""
    await rig.bus.connect()
    await rig.bus.enable()
    assert statuses(rig) == [ENABLED] * 3
    assert rig.state.position[[1, 2, 4]] == pytest.approx([0.1] * 3, abs=1e-3)
    assert all(shaft.driven for shaft in rig.shafts.values())
    rig.goal[:] = [9, 0.4, -0.4, 9, 0.2]
    for tick in range(20):
        now = 10**15 + tick
        rig.bus.read(now)
        rig.bus.command(now, rig.goal)
        await rig.answered(3)
        for joint in rig.joints:  # a perfect motor: it is where its law pulls it
            shaft = rig.shafts[joint.name]
            kp, _, bias, _ = shaft.law
            shaft.position = bias / kp
    rig.bus.read(10**15 + 20)
    assert rig.state.position[[1, 2, 4]] == pytest.approx([0.4, -0.4, 0.2], abs=2e-3)
    assert rig.state.stamp_ns[[1, 2, 4]].tolist() == [10**15 + 19] * 3
    assert rig.state.fault.tolist() == [0] * 5
    counters = rig.bus.counters
    assert (counters.lost, counters.late, counters.corrupt, counters.foreign, counters.unsent) == (0, 0, 0, 0, 0)
    await rig.bus.disable()
    assert statuses(rig) == [DISABLED] * 3
    assert not any(shaft.driven for shaft in rig.shafts.values())


async def test_motors_hold_where_they_stand_before_the_first_command(rig):
    await rig.bus.connect()
    rig.shafts["thigh"].position = 1.2
    await rig.bus.enable()
    for shaft in rig.shafts.values():
        kp, kd, bias, _ = shaft.law
        assert kp > 0
        assert kd > 0
        assert bias / kp == pytest.approx(shaft.position, abs=2e-3)
    assert rig.state.position[2] == pytest.approx(rig.joints[1].from_motor(1.2), abs=1e-3)
    assert (rig.state.stamp_ns[[1, 2, 4]] > 0).all()
    first = rig.wire.frames.index(CanFrame(2, ENABLE))
    before = [frame for frame in rig.wire.frames[:first] if frame.id == 2 and frame.data != DISABLE]
    assert [frames.Mit.parse(frame.data, Limits(12.5, 30, 10)).kp for frame in before] == [0.0]


async def test_every_fifth_frame_lost(rig):
    rig.wire.loss = 0.2
    await rig.bus.connect()
    await rig.bus.enable()
    for tick in range(1, 201):
        now = 10**15 + tick * 1000
        rig.bus.read(now)
        fresh = rig.state.missed[[1, 2, 4]] == 0
        for joint, place in zip(rig.joints, rig.index.tolist(), strict=True):
            # The position tells at which tick it was measured.
            rig.shafts[joint.name].position = joint.to_motor(tick * 0.005)
            if tick > 10 and fresh.all():
                truth = round(rig.state.position[place] / 0.005)
                assert rig.state.stamp_ns[place] <= 10**15 + truth * 1000
                assert rig.state.stamp_ns[place] >= 10**15 + (truth - 1) * 1000
        seen = len(rig.wire.frames) + 3
        rig.bus.command(now, rig.goal)
        await rig.until(lambda seen=seen: len(rig.wire.frames) >= seen, "three frames")
    counters = rig.bus.counters
    assert 100 < counters.lost < 400  # 600 requests, 36 % of them without an answer
    assert counters.received > 200
    assert rig.state.missed.max() < 12
    assert rig.state.fault.tolist() == [0] * 5
    await rig.bus.disable()
    assert statuses(rig) == [DISABLED] * 3


async def test_starting_and_stopping_with_late_replies(rig):
    """Replies come after the question has been asked again."""
    rig.wire.delay_s = 0.03
    await rig.bus.connect()
    await asyncio.sleep(0.1)
    assert rig.bus._port.receive() == []  # nothing is left that the tick could take for feedback
    await rig.bus.enable()
    assert statuses(rig) == [ENABLED] * 3
    await rig.bus.disable()
    await rig.bus.clear_faults()
    assert statuses(rig) == [DISABLED] * 3
    rig.wire.delay_s = 0.0
    await asyncio.sleep(0.1)
    rig.bus.read(1)
    assert rig.bus.counters.corrupt == rig.bus.counters.foreign == 0


async def test_a_late_reply_does_not_pass_for_an_error_that_stays(rig):
    await rig.bus.connect()
    rig.devices["thigh"].status = 0xD
    rig.wire.delay_s = 0.05  # what was asked three times before is answered after that
    await rig.bus.clear_faults()
    assert statuses(rig) == [DISABLED] * 3


async def test_replies_that_come_a_tick_late(rig):
    await rig.bus.connect()
    rig.wire.hold = True
    for tick in range(1, 8):
        now = tick * 1000
        rig.bus.read(now)
        if tick >= 3:
            assert rig.state.stamp_ns[[1, 2, 4]].tolist() == [(tick - 2) * 1000] * 3
        for joint in rig.joints:
            rig.shafts[joint.name].position = joint.to_motor(tick * 0.01)
        rig.bus.poll(now)
        await rig.until(lambda tick=tick: len(rig.wire.held) >= min(tick, 2) * 3, "replies held back")
        if tick >= 2:
            assert rig.state.position[1] == pytest.approx((tick - 2) * 0.01, abs=1e-3) or tick == 2
            rig.wire.release(3)
    rig.wire.release(3)
    rig.bus.read(8000)  # two replies of each at once
    assert rig.state.stamp_ns[[1, 2, 4]].tolist() == [7000] * 3
    assert rig.state.position[[1, 2, 4]] == pytest.approx([0.07] * 3, abs=1e-3)
    assert rig.bus.counters.late == 3
    assert rig.bus.counters.lost == 3
    assert rig.state.missed.tolist() == [0] * 5


async def test_foreign_and_malformed_frames_harm_nobody(rig):
    await rig.bus.connect()
    rig.bus.poll(100)
    await rig.answered(3)
    rig.wire.inject(CanFrame(0x7A, bytes(8)).pack())
    rig.wire.inject(CanFrame(0x41, bytes(5)).pack())
    rig.wire.inject(b"\x41\x00\x00\x00\x08")
    rig.wire.inject(bytes(17))
    rig.bus.read(200)
    assert rig.state.position[[1, 2, 4]] == pytest.approx([0.1] * 3, abs=1e-3)
    rig.bus.read(300)  # all had answered, so what else was there waited for the next tick
    assert (rig.bus.counters.foreign, rig.bus.counters.corrupt) == (1, 3)


async def test_a_bus_that_goes_away_and_comes_back(rig):
    await rig.bus.connect()
    await measure(rig, 100)
    rig.wire.hang_up()
    for tick in range(5):
        rig.bus.read(1000 + tick)
        rig.bus.command(1000 + tick, rig.goal)
    assert rig.state.missed[[1, 2, 4]].tolist() == [4] * 3
    assert rig.state.stamp_ns[[1, 2, 4]].tolist() == [100] * 3
    assert rig.bus.counters.unsent == 15
    rig.bus.torque_off()
    rig.wire.listen()
    rig.bus.read(2000)  # too early to try again
    rig.bus.poll(2000)
    assert rig.bus.counters.unsent == 18
    now = 2000 + RETRY_NS
    rig.bus.read(now)
    await measure(rig, now)
    assert rig.state.stamp_ns[[1, 2, 4]].tolist() == [now] * 3
    assert rig.state.missed.tolist() == [0] * 5
    await rig.bus.enable()
    assert statuses(rig) == [ENABLED] * 3


async def test_a_motor_in_error_is_not_energised(rig):
    await rig.bus.connect()
    rig.devices.fault("thigh", "over_temperature")
    with pytest.raises(BusError) as raised:
        await rig.bus.enable()
    assert raised.value.problems == ("joint thigh (id 0x2): reports the rotor is too hot; clear its faults first",)
    assert rig.wire.sent(ENABLE) == []
    with pytest.raises(BusError, match=r"joint thigh .* still reports the rotor is too hot"):
        await rig.bus.clear_faults()
    await measure(rig, 100)
    assert rig.state.fault.tolist() == [0, 0, 0xC, 0, 0]
    assert rig.bus.explain(0xC) == "the rotor is too hot"
    rig.devices.fault("thigh", "clear")
    await rig.bus.clear_faults()
    assert rig.state.fault.tolist() == [0] * 5
    await rig.bus.enable()
    assert statuses(rig) == [ENABLED] * 3


async def test_one_motor_that_does_not_confirm_leaves_all_off(rig, monkeypatch):
    await rig.bus.connect()
    monkeypatch.setattr(rig.devices["calf"], "_switch", lambda data: None)
    with pytest.raises(BusError) as raised:
        await rig.bus.enable()
    assert raised.value.problems == ("joint calf (id 0x13): torque on was not confirmed",)
    assert statuses(rig) == [DISABLED] * 3
    assert rig.bus.busy is False
    assert not any(shaft.driven for shaft in rig.shafts.values())


async def test_a_dead_motor_is_named_when_energising_and_resting(rig):
    await rig.bus.connect()
    rig.devices.fault("calf", "dead")
    with pytest.raises(BusError) as raised:
        await rig.bus.enable()
    assert [text.split(":")[0] for text in raised.value.problems] == ["joint calf (id 0x13)"] * 2
    assert statuses(rig) == [DISABLED] * 3
    with pytest.raises(BusError, match=r"joint calf .* torque off was not confirmed"):
        await rig.bus.disable()


async def test_a_motor_that_waits_for_the_others_is_fed(rig):
    """Its watchdog must not trip while another motor has not confirmed yet."""
    await rig.bus.connect()
    real = rig.devices["calf"]._switch
    attempts = []

    def stubborn(data):
        attempts.append(data)
        rig.wire.now_ns += 60_000_000  # each attempt takes 60 ms of the motors' 100 ms
        if len(attempts) > 5:
            real(data)

    rig.devices["calf"]._switch = stubborn
    await rig.bus.enable()
    assert statuses(rig) == [ENABLED] * 3


async def test_torque_off_from_another_thread_while_the_loop_is_stuck(rig):
    await rig.bus.connect()
    await rig.bus.enable()
    thread = threading.Thread(target=rig.bus.torque_off)
    thread.start()
    thread.join()  # the loop stands still here
    await rig.until(lambda: statuses(rig) == [DISABLED] * 3, "all motors off")
    assert rig.wire.sent(DISABLE) == [1, 2, 0x13]
    rig.bus.read(1)
    await measure(rig, 100)
    assert rig.state.fault.tolist() == [0] * 5  # it was meant, so it is no fault


async def test_torque_off_while_energising_wins(rig):
    await rig.bus.connect()
    real = rig.devices["calf"]._switch
    offs = []

    def off_at_the_last_moment(data):
        real(data)
        if data == ENABLE:
            thread = threading.Thread(target=rig.bus.torque_off)
            thread.start()
            thread.join()
            offs.append(thread)

    rig.devices["calf"]._switch = off_at_the_last_moment
    with pytest.raises(BusError, match="switched off while it was being energised"):
        await rig.bus.enable()
    assert offs
    assert statuses(rig) == [DISABLED] * 3


async def test_torque_off_before_energising_keeps_all_off(rig, monkeypatch):
    await rig.bus.connect()
    real = rig.devices.receive

    def off_while_the_bus_gets_ready(packed, now):
        frame = CanFrame.parse(packed)
        if frame.id == 1 and frame.data != DISABLE:
            rig.bus.torque_off()
        return real(packed, now)

    monkeypatch.setattr(rig.devices, "receive", off_while_the_bus_gets_ready)
    with pytest.raises(BusError, match="switched off while it was being energised"):
        await rig.bus.enable()
    assert rig.wire.sent(ENABLE) == []


async def test_cancelling_leaves_all_off(rig):
    await rig.bus.connect()
    rig.devices["calf"]._switch = lambda data: None  # so that energising takes some time
    task = asyncio.create_task(rig.bus.enable())
    await rig.until(lambda: rig.devices["hip"].status == ENABLED, "the first motor is on")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await rig.until(lambda: statuses(rig) == [DISABLED] * 3, "all motors off")
    assert rig.bus.busy is False


async def test_brown_out_is_torque_lost_and_enable_arms_the_watchdog_again(rig):
    await rig.bus.connect()
    await rig.bus.enable()
    rig.devices.fault("hip", "brown_out")
    rig.bus.command(100, rig.goal)
    await rig.answered(3)
    rig.bus.read(200)
    assert rig.state.fault.tolist() == [0, TORQUE_LOST, 0, 0, 0]
    assert "restarted" in rig.bus.explain(TORQUE_LOST)
    assert rig.devices["hip"].registers[frames.TIMEOUT] == 0
    await rig.bus.disable()
    await rig.bus.enable()
    assert rig.devices["hip"].registers[frames.TIMEOUT] == 2000
    assert statuses(rig) == [ENABLED] * 3
    assert rig.state.fault.tolist() == [0] * 5


async def test_a_silent_host_stops_the_motors(rig):
    await rig.bus.connect()
    await rig.bus.enable()
    rig.bus.command(100, rig.goal)
    await rig.answered(3)
    rig.bus.read(200)
    rig.wire.now_ns += 100_000_000
    rig.devices.advance(rig.wire.now_ns)
    assert statuses(rig) == [ENABLED] * 3
    rig.wire.now_ns += 1
    rig.devices.advance(rig.wire.now_ns)
    assert statuses(rig) == [0xD] * 3
    assert not any(shaft.driven for shaft in rig.shafts.values())
    rig.bus.command(300, rig.goal)
    await rig.answered(3)
    rig.bus.read(400)
    assert rig.state.fault[[1, 2, 4]].tolist() == [0xD] * 3
    await rig.bus.clear_faults()
    await rig.bus.enable()
    assert statuses(rig) == [ENABLED] * 3


async def test_close_rests_the_motors_and_can_be_repeated(rig):
    await rig.bus.connect()
    await rig.bus.enable()
    await rig.bus.close()
    assert statuses(rig) == [DISABLED] * 3
    await rig.bus.close()
    await rig.bus.connect()
    await measure(rig, 100)


async def test_close_without_motors_does_not_raise(rig):
    await rig.bus.connect()
    rig.wire.hang_up()
    await rig.bus.close()


async def test_steps_wait_for_each_other(rig):
    await rig.bus.connect()
    async with asyncio.TaskGroup() as group:
        group.create_task(rig.bus.clear_faults())
        group.create_task(rig.bus.disable())
    assert statuses(rig) == [DISABLED] * 3


async def test_another_watchdog_time(make_rig):
    rig = make_rig(watchdog=0.25)
    await rig.bus.connect()
    assert rig.devices["hip"].registers[frames.TIMEOUT] == 5000
