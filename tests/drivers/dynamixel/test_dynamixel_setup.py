"""Connecting, energising, resting and clearing against emulated servos over a pseudo terminal."""

from __future__ import annotations

import math
import os
import threading

import numpy as np
import pytest

from drivers.errors import BusError
from drivers.motors.dynamixel import faults, setup
from drivers.motors.dynamixel.frames import BROADCAST, Code, Instruction
from drivers.motors.dynamixel.table import (
    BUS_WATCHDOG,
    DRIVE_MODE,
    GOAL_POSITION,
    GOAL_PWM,
    HARDWARE_ERROR,
    MAX_POSITION_LIMIT,
    MIN_POSITION_LIMIT,
    OPERATING_MODE,
    RETURN_DELAY,
    STARTUP,
    STATUS_RETURN_LEVEL,
    TORQUE_ENABLE,
)

GOALS = [math.nan, 0.4, 0.9, 0.25, math.nan]
"""Where the three joints of `arm` stand."""


def torque_on_orders(heard: list[Instruction]) -> list[Instruction]:
    """Packets that energise a motor."""
    return [
        packet
        for packet in heard
        if (packet.code in (Code.WRITE, Code.REG_WRITE) and packet.params == b"\x40\0\1")
        or (packet.code == Code.SYNC_WRITE and packet.params[:4] == b"\x40\0\1\0" and 1 in packet.params[5::2])
    ]


def torques(arm) -> list[bool]:
    return [servo.torque_on for servo in arm.rig.devices.servos.values()]


async def problems_of(awaitable) -> list[str]:
    with pytest.raises(BusError) as caught:
        await awaitable
    assert caught.value.bus == "arm"
    return list(caught.value.problems)


# Connecting


async def test_connect_sets_up_and_never_energises(arm) -> None:
    one = await arm()
    assert one.bus.unwatched == []
    for servo in one.rig.devices.servos.values():
        assert servo.table[RETURN_DELAY] == 0
        assert servo.table[BUS_WATCHDOG] == 5
        assert servo.table[TORQUE_ENABLE] == 0
    assert one.bus.warnings == []
    assert not one.bus.busy
    assert torque_on_orders(one.rig.heard) == []
    eeprom = [p for p in one.rig.heard if p.code == Code.WRITE and p.params[1] == 0 and p.params[0] < 64]
    assert [packet.params[0] for packet in eeprom] == [RETURN_DELAY.address] * 3


async def test_connecting_twice_writes_no_eeprom_again(arm) -> None:
    one = await arm()
    await one.bus.close()
    one.rig.heard.clear()
    await one.bus.connect()
    assert not [p for p in one.rig.heard if p.code == Code.WRITE and p.params[1] == 0 and p.params[0] < 64]


async def test_a_motor_found_with_torque_on_is_switched_off_and_told(arm) -> None:
    one = await arm(connect=False)
    one.rig.servo("shoulder").write(64, b"\1")
    await one.bus.connect()
    assert not one.rig.servo("shoulder").torque_on
    assert one.bus.warnings == ["joint shoulder (id 2) was found with torque on; it was switched off"]
    assert torque_on_orders(one.rig.heard) == []


async def test_what_is_unsafe_in_eeprom_is_put_right_and_told(arm) -> None:
    one = await arm(connect=False)
    table = one.rig.servo("base").table
    table[OPERATING_MODE], table[DRIVE_MODE], table[STARTUP] = 1, 0x0C, 3
    table[STATUS_RETURN_LEVEL] = 0
    await one.bus.connect()
    assert (table[OPERATING_MODE], table[DRIVE_MODE], table[STARTUP]) == (3, 0x04, 2)
    assert table[STATUS_RETURN_LEVEL] == 2
    assert len(one.bus.warnings) == 3
    assert all(warning.startswith("joint base (id 1): ") for warning in one.bus.warnings)


async def test_every_problem_of_every_joint_is_told_at_once(arm) -> None:
    one = await arm(connect=False)
    devices = one.rig.devices
    devices.fault("base", "dead")
    devices.servos["shoulder"].table[DRIVE_MODE] = 1
    wrist = devices.servos["wrist"].table
    wrist[MIN_POSITION_LIMIT], wrist[MAX_POSITION_LIMIT] = 1000, 2500
    first, second, third = await problems_of(one.bus.connect())
    assert "base (id 1), XM430-W350, does not answer on" in first
    assert "1000000 baud; check power, cable, id and baud" in first
    assert "shoulder (id 2) turns in reverse" in second
    assert "`sign = -1`" in second
    assert "wrist (id 5) needs positions 744 to 3352" in third
    assert "allow 1000 to 2500" in third
    assert torque_on_orders(one.rig.heard) == []
    with pytest.raises(BusError, match="not open"):
        await one.bus.enable()


async def test_a_wrong_model_is_named(rig, make_joint, make_bus) -> None:
    wires = rig([("base", 1, "XL430-W250", 0.0)])
    bus, _ = make_bus(wires.path, [make_joint("base", 1)])
    (problem,) = await problems_of(bus.connect())
    assert "is model 1060 (XL430-W250), the config says XM430-W350 (1020)" in problem


async def test_firmware_without_a_bus_watchdog_is_refused(arm) -> None:
    one = await arm(firmware=37, connect=False)
    problems = await problems_of(one.bus.connect())
    assert len(problems) == 3
    assert "has firmware 37, at least 38 is expected" in problems[0]
    assert one.bus.unwatched == ["base", "shoulder", "wrist"]


async def test_a_hardware_error_at_connect_is_told_and_can_be_cleared(arm) -> None:
    one = await arm(connect=False)
    one.rig.devices.fault("wrist", "overload")
    await one.bus.connect()
    assert one.bus.warnings == ["joint wrist (id 5) reports overload; clear its faults before arming"]
    await one.tick()
    assert "overload" in one.bus.explain(int(one.state.fault[1]))
    (problem,) = await problems_of(one.bus.enable())
    assert "wrist (id 5) reports overload; clear its faults first" in problem
    assert torques(one) == [False] * 3


async def test_a_port_that_is_not_there(make_bus, make_joint, tmp_path) -> None:
    bus, _ = make_bus(tmp_path / "none", [make_joint("base", 1)])
    (problem,) = await problems_of(bus.connect())
    assert "does not exist; is the adapter plugged in?" in problem
    await bus.close()


async def test_a_slow_adapter_is_a_problem(arm, monkeypatch, tmp_path) -> None:
    one = await arm(connect=False)
    timer = tmp_path / one.rig.path.rsplit("/", 1)[1] / "latency_timer"
    timer.parent.mkdir()
    timer.write_text("16")
    timer.chmod(0o444)
    monkeypatch.setattr("drivers.ports.serial.SYSFS", tmp_path)
    # Root may write a read-only file; a kernel that refuses does so for everybody.
    monkeypatch.setattr("pathlib.Path.write_text", lambda *_: (_ for _ in ()).throw(PermissionError()))
    (problem,) = await problems_of(one.bus.connect())
    assert "holds received bytes back for 16 ms" in problem
    assert "udev rule" in problem


@pytest.mark.parametrize("lost", [0.1, 0.2])
async def test_connect_and_enable_over_a_wire_that_loses_packets(arm, lost: float) -> None:
    one = await arm(connect=False, watchdog=1.0)
    rng = np.random.default_rng(6)
    # At most two losses in a row, so that the third try of a request arrives: no chance in this test.
    row = 0

    def lose(reply: bytes) -> bytes:
        nonlocal row
        row = row + 1 if rng.random() < lost and row < 2 else 0
        return b"" if row else reply

    one.rig.mangle = lose
    await one.bus.connect()
    await one.bus.enable()
    assert torques(one) == [True] * 3


# Energising


async def test_enable_holds_where_the_joint_stands_and_confirms(arm) -> None:
    one = await arm()
    for servo in one.rig.devices.servos.values():
        servo.write(116, (100).to_bytes(4, "little"))  # an old goal, far away
    one.rig.heard.clear()
    await one.bus.enable()
    assert torques(one) == [True] * 3
    for name, servo in one.rig.devices.servos.items():
        before = one.rig.axes[name].position
        one.rig.axes[name].settle()
        assert one.rig.axes[name].position == pytest.approx(before, abs=0.0016)
        assert servo.table[BUS_WATCHDOG] == 5
    on = torque_on_orders(one.rig.heard)
    assert len(on) == 1
    goals = [p for p in one.rig.heard if p.code == Code.SYNC_WRITE and p.params[0] == GOAL_POSITION.address]
    assert one.rig.heard.index(goals[0]) < one.rig.heard.index(on[0])


@pytest.mark.parametrize(("part", "pwm"), [(1.0, 885), (0.25, 221)])
async def test_a_motor_makes_no_more_than_the_part_of_its_torque_that_is_allowed(arm, part, pwm) -> None:
    one = await arm()
    await one.bus.enable()
    full = {name: axis.law[3] for name, axis in one.rig.axes.items()}
    await one.bus.disable()
    one.bus.torque_part = part
    await one.bus.enable()
    for name, servo in one.rig.devices.servos.items():
        assert servo.table[GOAL_PWM] == pwm
        assert one.rig.axes[name].law[3] == pytest.approx(part * full[name], rel=0.01)


async def test_a_motor_whose_torque_cannot_be_limited_is_not_energised(arm) -> None:
    one = await arm()
    one.bus.torque_part = 0.5
    one.rig.hear = lambda data: b"" if b"\x83\x64\x00" in data else data
    problems = await problems_of(one.bus.enable())
    assert len(problems) == 3
    assert problems[0].endswith("kept to 50% of its torque: its goal PWM (100) reads 885, 442 was written")
    assert torques(one) == [False] * 3


async def test_enable_puts_back_what_a_restart_has_lost(arm) -> None:
    one = await arm(watchdog=0.2)
    one.rig.devices.fault("base", "brown_out")
    one.rig.skip(0.5)
    await one.tick()
    assert one.state.fault[3] == faults.RESTARTED
    await one.bus.enable()
    await one.tick(GOALS)
    assert not one.state.fault.any()
    assert one.rig.servo("base").table[BUS_WATCHDOG] == 10


async def test_enable_refuses_a_motor_outside_its_range_and_leaves_all_off(arm) -> None:
    one = await arm()
    one.rig.axes["base"].position = 4.0
    (problem,) = await problems_of(one.bus.enable())
    assert "base (id 1) stands at 4656, outside 0 to 4095" in problem
    assert torques(one) == [False] * 3
    assert torque_on_orders(one.rig.heard) == []


async def test_when_one_motor_does_not_confirm_all_are_switched_off(arm) -> None:
    one = await arm(watchdog=0.6)
    original = one.rig.hear

    def dies_when_energised(data: bytes) -> bytes:
        if b"\x83\x40\x00\x01\x00\x01\x01" in data:
            one.rig.devices.fault("shoulder", "dead")
        return original(data)

    one.rig.hear = dies_when_energised
    problems = await problems_of(one.bus.enable())
    assert problems == [
        "joint shoulder (id 2) did not switch torque on; it does not answer",
        "joint shoulder (id 2) did not confirm torque off",
    ]
    assert not one.rig.servo("base").torque_on
    assert not one.rig.servo("wrist").torque_on
    await one.tick()
    assert one.state.fault[[3, 1]].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("moment", "orders"),
    [(b"\x83\x74\x00", 0), (b"\x83\x40\x00\x01\x00\x01\x01", 1)],
    ids=["goals", "torque on"],
)
async def test_torque_off_wins_against_an_enable_that_is_under_way(arm, moment: bytes, orders: int) -> None:
    one = await arm()

    def press(data: bytes) -> bytes:
        if moment in data:
            one.rig.hear = bytes
            thread = threading.Thread(target=one.bus.torque_off)
            thread.start()
            thread.join()
        return data

    one.rig.hear = press
    problems = await problems_of(one.bus.enable())
    assert problems == ["torque-off was ordered while the motors were being energised"]
    assert torques(one) == [False] * 3
    assert len(torque_on_orders(one.rig.heard)) == orders


async def test_torque_on_is_not_repeated_after_torque_off_was_ordered(arm) -> None:
    one = await arm()

    def press_and_lose(data: bytes) -> bytes:
        if b"\x83\x40\x00\x01\x00\x01\x01" not in data:
            return data
        one.rig.hear = bytes
        one.bus.torque_off()
        return b""

    one.rig.hear = press_and_lose
    await problems_of(one.bus.enable())
    assert torque_on_orders(one.rig.heard) == []


async def test_torque_off_wins_in_the_last_moment_of_an_enable(arm, monkeypatch) -> None:
    one = await arm()
    energise = setup.energise

    async def then_pressed(*arguments) -> list[str]:
        wrong = await energise(*arguments)
        assert torques(one) == [True] * 3
        one.bus.torque_off()
        return wrong

    monkeypatch.setattr("drivers.motors.dynamixel.setup.energise", then_pressed)
    problems = await problems_of(one.bus.enable())
    assert problems == ["torque-off was ordered while the motors were being energised"]
    await one.rig.until(lambda: not any(torques(one)))
    await one.tick()
    assert not one.state.fault.any()


# Resting and stopping


async def test_disable_confirms(arm) -> None:
    one = await arm()
    await one.bus.enable()
    await one.bus.disable()
    assert torques(one) == [False] * 3
    await one.tick()
    assert not one.state.fault.any()


async def test_disable_names_who_did_not_confirm(arm) -> None:
    one = await arm()
    await one.bus.enable()
    one.rig.devices.fault("wrist", "dead")
    assert await problems_of(one.bus.disable()) == ["joint wrist (id 5) did not confirm torque off"]
    assert torques(one)[:2] == [False] * 2


async def test_torque_off_from_another_thread_is_one_write_that_all_motors_hear(arm) -> None:
    one = await arm()
    await one.bus.enable()
    one.rig.heard.clear()
    thread = threading.Thread(target=one.bus.torque_off)
    thread.start()
    thread.join()
    await one.rig.until(lambda: not any(torques(one)))
    assert {packet.id for packet in one.rig.heard} == {BROADCAST}
    await one.tick(GOALS)
    assert not one.state.fault.any()


async def test_torque_off_survives_a_collision_with_its_first_half(arm) -> None:
    one = await arm()
    await one.bus.enable()
    half = len(one.bus._off) // 2
    one.rig.hear = lambda data: data[: half - 4] + b"\x55\xaa" + data[half - 2 :] if len(data) > half else data
    one.bus.torque_off()
    await one.rig.until(lambda: not any(torques(one)))


async def test_torque_off_and_the_tick_before_connect_do_nothing(make_bus, make_joint) -> None:
    bus, state = make_bus("/dev/null", [make_joint("base", 1)])
    bus.torque_off()
    bus.poll(1)
    bus.command(2, np.zeros(3))
    bus.read(3)
    assert not state.missed.any()
    await bus.close()


async def test_close_switches_off(arm) -> None:
    one = await arm()
    await one.bus.enable()
    await one.bus.close()
    assert torques(one) == [False] * 3
    await one.bus.close()


async def test_close_of_a_port_that_is_gone_does_not_raise(arm) -> None:
    one = await arm()
    one.rig.close()
    await one.bus.close()


async def test_a_port_that_goes_away_is_named(arm) -> None:
    one = await arm()
    path = one.rig.path
    one.rig.close()
    (problem,) = await problems_of(one.bus.enable())
    assert f"port {path} is gone" in problem


async def test_an_adapter_that_is_back_under_another_number_works_once_faults_are_cleared(arm, tmp_path) -> None:
    adapter = tmp_path / "adapter"
    one = await arm(connect=False, port=str(adapter))
    first = one.rig.path
    adapter.symlink_to(first)
    await one.bus.connect()
    await one.bus.enable()
    await one.tick([0.1] * 5)

    adapter.unlink()
    one.rig.close()
    (problem,) = await problems_of(one.bus.clear_faults())
    assert f"port {adapter} is gone" in problem
    taken = os.openpty()  # the old number is somebody else's now
    one.rig.plug()
    assert one.rig.path != first
    adapter.symlink_to(one.rig.path)
    await one.bus.clear_faults()
    assert torques(one) == [False] * 3
    await one.bus.enable()
    assert torques(one) == [True] * 3
    await one.tick([0.2] * 5)
    await one.tick([0.2] * 5)
    assert one.state.missed[one.bus.index].tolist() == [0, 0, 0]
    for end in taken:
        os.close(end)


# Watchdog and faults


async def test_the_motors_stop_when_the_host_falls_silent_and_recover(arm) -> None:
    one = await arm(watchdog=0.1)
    await one.bus.enable()
    await one.tick([math.nan, 0.0, 0.0, 1.0, math.nan])
    one.rig.skip(0.05)
    one.rig.axes["base"].position = 0.6  # on its way
    assert one.rig.servo("base").table[GOAL_POSITION] == 2700
    one.rig.skip(0.2)
    stopped_at = round(0.6 / (2 * math.pi) * 4096) + 2048
    for servo in one.rig.devices.servos.values():
        assert servo.table[BUS_WATCHDOG] == 0xFF
        assert servo.torque_on
    assert one.rig.servo("base").table[GOAL_POSITION] == stopped_at
    await one.tick([math.nan, 0.0, 0.0, 1.0, math.nan])
    assert one.state.fault[[3, 2, 1]].tolist() == [faults.WATCHDOG] * 3
    assert one.state.position[3] == pytest.approx(0.6, abs=0.001)
    assert one.rig.servo("base").table[GOAL_POSITION] == stopped_at  # goals are refused
    await one.bus.clear_faults()
    assert torques(one) == [False] * 3
    assert not one.state.fault.any()
    await one.tick()
    assert not one.state.fault.any()
    await one.bus.enable()
    await one.tick([math.nan, 0.0, 0.0, 1.0, math.nan])
    assert one.rig.servo("base").table[GOAL_POSITION] == 2700


async def test_clear_faults_restarts_the_motor_that_has_one_and_no_other(arm) -> None:
    one = await arm()
    await one.bus.enable()
    one.rig.devices.fault("shoulder", "overload")
    await one.tick(GOALS)
    one.rig.heard.clear()
    await one.bus.clear_faults()
    assert [packet.id for packet in one.rig.heard if packet.code == Code.REBOOT] == [2]
    assert one.rig.servo("shoulder").table[HARDWARE_ERROR] == 0
    await one.tick()
    assert not one.state.fault.any()
    assert torques(one) == [False] * 3
    assert torque_on_orders(one.rig.heard) == []


async def test_clear_faults_tries_fast_sync_read_again(arm) -> None:
    one = await arm()
    one.rig.devices.fault("shoulder", "dead")
    for _ in range(5):
        await one.tick()
    assert not one.bus.fast
    one.rig.devices.fault("shoulder", "clear")
    one.rig.skip(0.5)
    await one.bus.clear_faults()
    assert one.bus.fast
    await one.tick()
    assert not one.state.fault.any()
    assert one.bus.fast


async def test_clear_faults_says_when_the_cause_is_still_there(arm) -> None:
    one = await arm()
    one.rig.devices.fault("shoulder", "over_temperature", 3.0)
    one.rig.skip(0.01)
    (problem,) = await problems_of(one.bus.clear_faults())
    assert "shoulder (id 2) still reports overheating; remove the cause" in problem
    one.rig.devices.fault("shoulder", "clear")
    await one.bus.clear_faults()


async def test_clear_faults_of_a_motor_that_does_not_come_back(arm, monkeypatch) -> None:
    monkeypatch.setattr("drivers.motors.dynamixel.setup._REBOOT_TIMEOUT_S", 0.2)
    one = await arm()
    one.rig.devices.fault("shoulder", "overload")

    def dies(data: bytes) -> bytes:
        if data[7:8] == b"\x08":
            one.rig.devices.fault("shoulder", "dead")
        return data

    one.rig.hear = dies
    (problem,) = await problems_of(one.bus.clear_faults())
    assert "did not come back after a restart" in problem


async def test_two_orders_at_once_come_one_after_the_other(arm) -> None:
    import asyncio

    one = await arm()
    results = await asyncio.gather(one.bus.enable(), one.bus.disable(), return_exceptions=True)
    assert isinstance(results[0], BusError)
    assert results[1] is None
    assert torques(one) == [False] * 3
    assert not one.bus.busy
