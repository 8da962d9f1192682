"""The emulated servos, packet by packet, with time injected."""

from __future__ import annotations

import math
import struct

import pytest

from drivers.emulated.dynamixel import DynamixelDevices
from drivers.motors.dynamixel import frames
from drivers.motors.dynamixel.frames import Code, Error, Instruction, Status
from drivers.motors.dynamixel.stream import PacketStream

MS = 1_000_000
START = 5_000_000_000


class Axis:
    def __init__(self) -> None:
        self.position = self.velocity = self.torque = 0.0
        self.law: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)

    def drive(self, kp: float, kd: float, bias: float, limit: float) -> None:
        self.law = (kp, kd, bias, limit)

    def limp(self) -> None:
        self.law = (0.0, 0.0, 0.0, 0.0)


class Bench:
    """Three servos with ids 1, 2, 3 and a clock that the test moves."""

    def __init__(self, firmware: int = 46, models: tuple[str, ...] = ("XM430-W350", "XM540-W270", "XL430-W250")):
        self.axes = [Axis() for _ in models]
        self.devices = DynamixelDevices(
            [(f"j{n}", n + 1, model, self.axes[n]) for n, model in enumerate(models)], firmware
        )
        self.servos = list(self.devices.servos.values())
        self.now_ns = START
        self.devices.advance(self.now_ns)

    def wait(self, milliseconds: float) -> None:
        self.now_ns += round(milliseconds * MS)
        self.devices.advance(self.now_ns)

    def send(self, packet: bytes) -> list[tuple[int, bytes]]:
        """Answers as (µs after the request, bytes)."""
        self.now_ns += 20 * MS
        replies = self.devices.receive(packet, self.now_ns)
        return [((at - self.now_ns) // 1000, reply) for at, reply in replies]

    def ask(self, packet: bytes) -> Status | None:
        replies = self.send(packet)
        assert len(replies) <= 1
        return Status.parse(replies[0][1]) if replies else None

    def write(self, address: int, value: int, size: int = 1, ident: int = 1) -> int | None:
        status = self.ask(frames.write(ident, address, value.to_bytes(size, "little", signed=value < 0)))
        return None if status is None else status.error

    def read(self, address: int, size: int = 1, ident: int = 1, signed: bool = False) -> int:
        status = self.ask(frames.read(ident, address, size))
        assert status is not None
        assert not status.number, status
        return int.from_bytes(status.params, "little", signed=signed)


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Packets


def test_ping_and_broadcast_ping(bench: Bench) -> None:
    assert bench.ask(frames.ping(2)) == Status(2, 0, struct.pack("<HB", 1120, 46))
    replies = [Status.parse(reply) for _, reply in bench.send(frames.ping(0xFE))]
    assert [(one.id, struct.unpack("<HB", one.params)[0]) for one in replies] == [(1, 1020), (2, 1120), (3, 1060)]


def test_golden_answers(bench: Bench) -> None:
    bench.axes[0].position = (166 - 2048) / 4096 * 2 * math.pi
    read = bytes.fromhex("FF FF FD 00 01 07 00 02 84 00 04 00 1D 15")
    assert bench.send(read)[0][1] == bytes.fromhex("FF FF FD 00 01 08 00 55 00 A6 00 00 00 8C C0")
    write = bytes.fromhex("FF FF FD 00 01 09 00 03 74 00 00 02 00 00 CA 89")
    assert bench.send(write)[0][1] == bytes.fromhex("FF FF FD 00 01 04 00 55 00 A1 0C")


def test_a_packet_in_pieces_and_the_pause_that_ends_one(bench: Bench) -> None:
    packet = frames.ping(1)
    for byte in packet[:-1]:
        bench.now_ns += MS
        assert bench.devices.receive(bytes((byte,)), bench.now_ns) == []
    bench.now_ns += MS
    assert len(bench.devices.receive(packet[-1:], bench.now_ns)) == 1
    assert bench.devices.receive(packet[:6], bench.now_ns) == []
    bench.now_ns += 2 * MS
    assert bench.devices.receive(packet[6:], bench.now_ns) == []
    assert len(bench.devices.receive(packet, bench.now_ns)) == 1


def test_answers_take_their_time_on_the_wire_and_the_return_delay(bench: Bench) -> None:
    # 14 bytes out, 500 µs, 15 bytes back, 10 µs each at 1 Mbit/s.
    assert [at for at, _ in bench.send(frames.read(1, 132, 4))] == [140 + 500 + 150]
    bench.write(9, 0)
    assert [at for at, _ in bench.send(frames.read(1, 132, 4))] == [140 + 150]
    bench.write(9, 10, ident=2)
    times = [at for at, _ in bench.send(frames.sync_read([1, 2], 132, 4))]
    assert times == [160 + 150, 160 + 150 + 20 + 150]


def test_wrong_crc_is_told_to_one_and_never_to_all(bench: Bench) -> None:
    bad = bytearray(frames.read(1, 132, 4))
    bad[-1] ^= 1
    assert bench.ask(bytes(bad)) == Status(1, Error.CRC)
    bad = bytearray(frames.sync_read([1], 132, 4))
    bad[-1] ^= 1
    assert bench.send(bytes(bad)) == []


@pytest.mark.parametrize("level", [0, 1, 2])
def test_status_return_level(bench: Bench, level: int) -> None:
    bench.write(68, level)
    assert bench.ask(frames.ping(1)) is not None
    assert (bench.ask(frames.read(1, 132, 4)) is not None) == (level >= 1)
    assert len(bench.send(frames.sync_read([1, 2], 132, 4))) == (2 if level >= 1 else 1)
    assert (bench.ask(frames.write(1, 65, b"\1")) is not None) == (level == 2)
    assert bench.servos[0].table.read(65, 1)[1] == b"\1"


def test_reg_write_and_action(bench: Bench) -> None:
    assert bench.ask(Instruction(1, Code.ACTION).pack()) == Status(1, Error.INSTRUCTION)
    assert bench.ask(Instruction(1, Code.REG_WRITE, b"\x74\0\0\2\0\0").pack()) == Status(1, 0)
    assert bench.read(69) == 1
    assert bench.read(116, 4) == 2048
    assert bench.send(Instruction(0xFE, Code.ACTION).pack()) == []
    assert bench.read(116, 4) == 512
    assert bench.read(69) == 0
    assert bench.ask(Instruction(1, Code.REG_WRITE, b"\x84\0\0").pack()) == Status(1, Error.ACCESS)


def test_sync_and_bulk(bench: Bench) -> None:
    assert bench.send(frames.sync_write(116, [(1, b"\1\0\0\0"), (9, b"\2\0\0\0"), (2, b"\3\0\0\0")])) == []
    assert [bench.read(116, 4, ident) for ident in (1, 2, 3)] == [1, 3, 2048]
    bulk = struct.pack("<BHH", 1, 116, 4) + b"\7\0\0\0" + struct.pack("<BHH", 3, 65, 1) + b"\1"
    assert bench.send(Instruction(0xFE, Code.BULK_WRITE, bulk).pack()) == []
    replies = [Status.parse(r) for _, r in bench.send(frames.bulk_read([(1, 116, 4), (9, 1, 1), (3, 65, 1)]))]
    assert replies == [Status(1, 0, b"\7\0\0\0"), Status(3, 0, b"\1")]


def test_fast_sync_and_bulk_read(bench: Bench) -> None:
    parser = PacketStream(30, (1, 3), {1 + 2 * 8: 8})
    ((_, reply),) = bench.send(frames.sync_read([1, 3], 132, 4, fast=True))
    assert parser.feed(reply) == [Status(1, 0, b"\0\x08\0\0"), Status(3, 0, b"\0\x08\0\0")]
    bench.write(116, 1, 4, ident=3)
    ((_, reply),) = bench.send(frames.bulk_read([(1, 132, 4), (3, 116, 4)], fast=True))
    assert parser.feed(reply) == [Status(1, 0, b"\0\x08\0\0"), Status(3, 0, b"\1\0\0\0")]


def test_a_dead_motor_is_skipped_in_a_plain_read_and_cuts_a_fast_one(bench: Bench) -> None:
    bench.devices.fault("j1", "dead")
    plain = bench.send(frames.sync_read([1, 2, 3], 132, 4))
    assert [Status.parse(reply).id for _, reply in plain] == [1, 3]
    ((_, reply),) = bench.send(frames.sync_read([1, 2, 3], 132, 4, fast=True))
    assert len(reply) == 8 + 8
    assert int.from_bytes(reply[5:7], "little") == 1 + 3 * 8
    assert bench.send(frames.sync_read([2, 3], 132, 4, fast=True)) == []
    assert bench.ask(frames.ping(2)) is None


def test_old_firmware_does_not_know_fast_reads() -> None:
    assert Bench(firmware=44).send(frames.sync_read([1, 2], 132, 4, fast=True)) == []


def test_unknown_instruction_and_status_packets_of_others(bench: Bench) -> None:
    assert bench.ask(Instruction(1, 0x77).pack()) == Status(1, Error.INSTRUCTION)
    assert bench.send(Status(1, 0, b"\1").pack()) == []
    assert bench.ask(frames.ping(44)) is None


def test_reboot_answers_then_falls_silent_and_forgets_its_ram(bench: Bench) -> None:
    bench.write(9, 0)
    bench.write(116, 3000, 4)
    bench.write(98, 5)
    bench.write(168, 64, 2)
    bench.write(64, 1)
    assert bench.ask(frames.reboot(1)) == Status(1, 0)
    assert bench.axes[0].law == (0.0, 0.0, 0.0, 0.0)
    assert bench.ask(frames.ping(1)) is None
    bench.wait(400)
    assert bench.ask(frames.ping(1)) is not None
    assert [bench.read(address) for address in (9, 64, 98)] == [0, 0, 0]
    assert bench.read(168, 2) == 224


def test_clear_only_when_standing_still(bench: Bench) -> None:
    bench.write(11, 4)
    bench.axes[0].position = 5 * 2 * math.pi + 0.1
    bench.axes[0].velocity = 1.0
    clear = Instruction(1, Code.CLEAR, b"\x01DXL\x22").pack()
    assert bench.ask(clear) == Status(1, Error.RESULT_FAIL)
    bench.axes[0].velocity = 0.0
    assert bench.read(132, 4) == 2048 + 65 + 5 * 4096
    assert bench.ask(clear) == Status(1, 0)
    assert bench.read(132, 4) == 2048 + 65


@pytest.mark.parametrize(("option", "ident", "baud"), [(0xFF, 1, 1), (0x01, 2, 1), (0x02, 2, 3)])
def test_factory_reset(bench: Bench, option: int, ident: int, baud: int) -> None:
    bench.devices.fault("j0", "dead")
    bench.write(48, 3000, 4, ident=2)
    assert bench.ask(Instruction(2, Code.FACTORY_RESET, bytes((option,))).pack()) == Status(2, 0)
    bench.wait(400)
    assert bench.read(48, 4, ident) == 4095
    assert bench.read(8, 1, ident) == baud


def test_factory_reset_of_everything_to_all_is_ignored(bench: Bench) -> None:
    assert bench.send(Instruction(0xFE, Code.FACTORY_RESET, b"\xff").pack()) == []
    assert len(bench.send(frames.ping(0xFE))) == 3


def test_control_table_backup(bench: Bench) -> None:
    store, restore = (Instruction(1, Code.BACKUP, bytes((n,)) + b"CTRL").pack() for n in (1, 2))
    assert bench.ask(restore) == Status(1, Error.RESULT_FAIL)
    bench.write(84, 900, 2)
    bench.write(168, 64, 2)
    assert bench.ask(store) == Status(1, 0)
    assert bench.read(147) == 1
    bench.write(84, 100, 2)
    bench.write(168, 65, 2)
    bench.write(64, 1)
    assert bench.ask(restore) == Status(1, Error.RESULT_FAIL)
    bench.write(64, 0)
    assert bench.ask(restore) == Status(1, 0)
    bench.wait(400)
    assert (bench.read(84, 2), bench.read(168, 2), bench.read(147)) == (900, 64, 1)


# Registers


def test_factory_values_of_the_models(bench: Bench) -> None:
    limits = [(31, 1), (44, 4), (84, 2), (32, 2)]
    assert [bench.read(a, s, 1) for a, s in limits] == [80, 350, 800, 160]
    assert [bench.read(a, s, 2) for a, s in limits] == [80, 128, 800, 160]
    assert [bench.read(a, s, 3) for a, s in limits] == [72, 265, 640, 140]
    assert (bench.read(38, 2, 1), bench.read(38, 2, 2)) == (1193, 2047)
    assert (bench.read(0, 2), bench.read(6), bench.read(7), bench.read(63)) == (1020, 46, 1, 52)


@pytest.mark.parametrize(
    ("packet", "error"),
    [
        (frames.write(1, 132, bytes(4)), Error.ACCESS),  # read only
        (frames.write(1, 130, bytes(4)), Error.ACCESS),
        (frames.write(1, 150, b"\0"), Error.ACCESS),  # undefined
        (frames.write(1, 116, b"\0\0"), Error.DATA_LENGTH),
        (frames.write(1, 118, b"\0\0"), Error.DATA_LENGTH),
        (frames.write(1, 116, b""), Error.DATA_LENGTH),
        (frames.write(1, 64, b"\2"), Error.DATA_RANGE),
        (frames.write(1, 98, b"\xff"), Error.DATA_RANGE),
        (frames.write(1, 11, b"\7"), Error.DATA_RANGE),
        (frames.write(3, 11, b"\0"), Error.DATA_RANGE),  # no current mode on an XL430
        (frames.write(3, 38, b"\0\0"), Error.ACCESS),  # nor a current limit
        (frames.write(1, 116, (4096).to_bytes(4, "little")), Error.DATA_LIMIT),
        (frames.write(1, 116, (-1).to_bytes(4, "little", signed=True)), Error.DATA_LIMIT),
        (frames.write(1, 116, (2_000_000).to_bytes(4, "little")), Error.DATA_RANGE),
        (frames.write(1, 104, (351).to_bytes(4, "little")), Error.DATA_LIMIT),
        (frames.write(1, 100, (886).to_bytes(2, "little")), Error.DATA_LIMIT),
        (frames.read(1, 2000, 1), Error.ACCESS),
        (frames.read(1, 150, 1), Error.ACCESS),
        (frames.read(1, 660, 4), Error.ACCESS),
    ],
)
def test_status_errors(bench: Bench, packet: bytes, error: Error) -> None:
    ident = packet[4]
    assert bench.ask(packet) == Status(ident, error)


def test_a_gap_inside_a_read_is_zeros(bench: Bench) -> None:
    assert bench.read(146, 22) & 0xFF == 30


def test_several_registers_in_one_write_all_or_none(bench: Bench) -> None:
    assert bench.ask(frames.write(1, 108, bytes((1, 0, 0, 0, 2, 0, 0, 0)))) == Status(1, 0)
    assert (bench.read(108, 4), bench.read(112, 4)) == (1, 2)
    data = bytes((5, 0, 0, 0)) + (40000).to_bytes(4, "little")
    assert bench.ask(frames.write(1, 108, data)) == Status(1, Error.DATA_RANGE)
    assert bench.read(108, 4) == 1


def test_eeprom_is_locked_while_torque_is_on(bench: Bench) -> None:
    assert bench.write(9, 0) == 0
    bench.write(64, 1)
    assert bench.write(9, 1) == Error.ACCESS
    assert bench.write(65, 1) == 0
    bench.write(64, 0)
    assert bench.write(9, 1) == 0


def test_the_id_changes_with_the_next_packet(bench: Bench) -> None:
    assert bench.ask(frames.write(1, 7, b"\x20")) == Status(1, 0)
    assert bench.ask(frames.ping(1)) is None
    assert bench.ask(frames.ping(0x20)) is not None


def test_secondary_id_obeys_and_does_not_answer(bench: Bench) -> None:
    bench.write(12, 100)
    assert bench.send(frames.write(100, 65, b"\1")) == []
    assert bench.read(65) == 1


def test_indirect_data_shows_and_writes_what_its_addresses_name(bench: Bench) -> None:
    bench.ask(frames.write(1, 168, struct.pack("<5H", 65, 116, 117, 118, 119)))
    assert bench.ask(frames.write(1, 224, b"\1\0\4\0\0")) == Status(1, 0)
    assert (bench.read(65), bench.read(116, 4)) == (1, 1024)
    bench.ask(frames.write(1, 578, struct.pack("<4H", 132, 133, 134, 135)))
    assert bench.read(634, 4) == 2048
    assert bench.ask(frames.write(1, 634, bytes(4))) == Status(1, Error.ACCESS)
    assert bench.ask(frames.write(1, 225, b"\0\0")) == Status(1, Error.DATA_LENGTH)
    assert bench.ask(frames.write(1, 168, struct.pack("<H", 63))) == Status(1, Error.DATA_RANGE)
    # Nothing mapped: plain memory.
    bench.write(230, 99)
    assert bench.read(230) == 99


def test_realtime_tick(bench: Bench) -> None:
    first = bench.read(120, 2)
    bench.wait(100)
    assert bench.read(120, 2) - first == 120  # 20 of them by the request itself
    bench.wait(40000)
    assert bench.read(120, 2) < 32768


def test_present_values(bench: Bench) -> None:
    axis = bench.axes[0]
    axis.position, axis.velocity, axis.torque = math.pi / 2, -1.0, 2.05
    assert bench.read(132, 4) == 3072
    assert bench.read(128, 4, signed=True) == round(-60 / 2 / math.pi / 0.229)
    assert bench.read(126, 2, signed=True) == round(1.15 / 2.69e-3)  # half of 4.1 Nm at half of 2.3 A
    assert bench.read(124, 2, signed=True) == 442
    assert bench.read(122) == 1
    bench.axes[2].torque = -0.75
    assert bench.read(126, 2, 3, signed=True) == -500  # a load of 50 %
    assert bench.read(144, 2) == 120


def test_reverse_drive_mode_turns_everything_round(bench: Bench) -> None:
    bench.axes[0].position = 0.5
    before = bench.read(132, 4)
    bench.write(10, 1)
    assert bench.read(132, 4) - 2048 == -(before - 2048)
    bench.write(116, 2148, 4)
    bench.write(64, 1)
    kp, _, bias, _ = bench.axes[0].law
    assert bias / kp == pytest.approx(-100 / 4096 * 2 * math.pi)


# Motion


def goal_of(axis: Axis) -> float:
    kp, _, bias, _ = axis.law
    return bias / kp


def test_position_law(bench: Bench) -> None:
    bench.write(116, 3072, 4)
    assert bench.axes[0].law == (0.0, 0.0, 0.0, 0.0)
    bench.write(64, 1)
    assert bench.axes[0].law == (40.0, 1.2, pytest.approx(40.0 * math.pi / 2), 4.1)
    bench.write(84, 400, 2)
    assert bench.axes[0].law[0] == 20.0
    bench.write(64, 0)
    assert bench.axes[0].law == (0.0, 0.0, 0.0, 0.0)


def test_extended_and_current_based_position(bench: Bench) -> None:
    bench.write(11, 4)
    bench.write(116, -20000, 4)
    bench.write(64, 1)
    assert goal_of(bench.axes[0]) == pytest.approx((-20000 - 2048) / 4096 * 2 * math.pi)
    bench.write(64, 0)
    bench.write(11, 5)
    bench.write(102, 100, 2)
    bench.write(64, 1)
    assert bench.axes[0].law[3] == pytest.approx(0.269 * 4.1 / 2.3)


def test_velocity_current_and_pwm_modes(bench: Bench) -> None:
    axis = bench.axes[0]
    bench.write(11, 1)
    bench.write(64, 1)
    bench.write(104, 100, 4)
    assert axis.law[0] == 0.0
    assert axis.law[2] / axis.law[1] == pytest.approx(22.9 * 2 * math.pi / 60)
    bench.write(64, 0)
    bench.write(11, 0)
    bench.write(64, 1)
    bench.write(102, -100, 2)
    assert axis.law[2] == pytest.approx(-0.269 * 4.1 / 2.3)
    bench.write(64, 0)
    bench.write(11, 16)
    bench.write(64, 1)
    bench.write(100, 885, 2)
    assert axis.law[2] == pytest.approx(4.1)
    assert axis.law[1] > 0


def test_profile_follows_a_trapezoid_and_sets_the_flags(bench: Bench) -> None:
    bench.ask(frames.write(1, 108, struct.pack("<II", 10, 50)))  # 3.7 rad/s², 1.2 rad/s
    bench.write(116, 2048, 4)
    bench.write(64, 1)
    bench.write(116, 4095, 4)
    top, times, last = 0.0, 0, goal_of(bench.axes[0])
    while bench.servos[0].read(123, 1)[1][0] & 0x02:
        for _ in range(10):
            bench.wait(2)
            goal = goal_of(bench.axes[0])
            top = max(top, (goal - last) / 0.002)
            last, times = goal, times + 1
        assert times < 5000
    assert top == pytest.approx(50 * 0.229 * 2 * math.pi / 60, rel=1e-3)
    assert goal_of(bench.axes[0]) == pytest.approx(2047 / 4096 * 2 * math.pi)
    bench.axes[0].position = 2047 / 4096 * 2 * math.pi
    assert bench.read(123) & 0x0B == 0x01


def test_time_based_profile_arrives_in_its_time(bench: Bench) -> None:
    bench.write(10, 4)
    bench.write(112, 500, 4)
    bench.write(116, 2048, 4)
    bench.write(64, 1)
    bench.wait(600)
    bench.write(116, 3048, 4)
    bench.wait(250)
    middle = goal_of(bench.axes[0]) / 2 / math.pi * 4096
    assert middle == pytest.approx(500, abs=2)
    bench.wait(260)
    assert goal_of(bench.axes[0]) == pytest.approx(1000 / 4096 * 2 * math.pi)


def test_torque_on_by_goal_update(bench: Bench) -> None:
    bench.write(10, 8)
    bench.write(116, 2000, 4)
    assert bench.read(64) == 1


# Watchdog and faults


def test_bus_watchdog_stops_and_locks_until_it_is_cleared(bench: Bench) -> None:
    axis = bench.axes[0]
    bench.write(116, 3000, 4)
    bench.write(98, 3)
    bench.wait(1000)
    assert bench.read(98) == 3  # torque is off: it does not count
    bench.write(64, 1)
    bench.wait(50)
    assert bench.servos[0].table.read(98, 1)[1] == b"\3"
    axis.position = 0.2
    bench.wait(20)
    assert goal_of(axis) == pytest.approx(0.2, abs=0.001)
    assert axis.law[0] == 40.0  # it stops, it does not go limp
    assert bench.read(98) == 0xFF
    assert bench.read(64) == 1
    for address, size in ((116, 4), (104, 4), (102, 2), (100, 2)):
        assert bench.write(address, 1, size) == Error.DATA_RANGE
    assert bench.write(98, 5) == Error.DATA_RANGE
    assert bench.write(98, 0) == 0
    assert bench.write(116, 3000, 4) == 0
    bench.wait(1000)
    assert bench.read(98) == 0


def test_any_instruction_feeds_the_watchdog(bench: Bench) -> None:
    bench.write(98, 3)
    bench.write(64, 1)
    for _ in range(20):
        bench.send(frames.ping(2))
        bench.wait(30)
    assert bench.read(98) == 3


@pytest.mark.parametrize(("kind", "bit"), [("over_temperature", 0x04), ("overload", 0x20)])
def test_a_hardware_error_cuts_torque_until_a_reboot(bench: Bench, kind: str, bit: int) -> None:
    bench.write(64, 1)
    bench.devices.fault("j0", kind, 2.0)
    bench.wait(1)
    assert bench.axes[0].law == (0.0, 0.0, 0.0, 0.0)
    status = bench.ask(frames.read(1, 70, 1))
    assert status == Status(1, 0x80, bytes((bit,)))
    assert bench.write(64, 1) == 0x80 | Error.RESULT_FAIL
    bench.devices.fault("j0", "clear")
    assert bench.write(64, 1) == 0x80 | Error.RESULT_FAIL
    bench.ask(frames.reboot(1))
    bench.wait(400)
    assert bench.read(70) == 0
    assert bench.write(64, 1) == 0


def test_a_hardware_error_that_is_not_in_shutdown_only_alerts(bench: Bench) -> None:
    bench.write(63, 0)
    bench.write(64, 1)
    bench.devices.fault("j0", "overload")
    assert bench.ask(frames.read(1, 64, 1)) == Status(1, 0x80, b"\1")


def test_heat_comes_with_torque_and_goes(bench: Bench) -> None:
    bench.axes[0].torque = 4.1
    for _ in range(200):
        bench.wait(1000)
    assert 55 < bench.read(146) < 75
    bench.axes[0].torque = 0.0
    for _ in range(600):
        bench.wait(1000)
    assert bench.read(146) == 30
    assert bench.read(70) == 0


def test_over_temperature_stays_while_its_cause_is_there(bench: Bench) -> None:
    bench.devices.fault("j0", "over_temperature", 5.0)
    bench.wait(1)
    assert bench.read(146) == 85
    bench.ask(frames.reboot(1))
    bench.wait(400)
    assert bench.read(70) == 0x04


def test_brown_out_is_not_announced(bench: Bench) -> None:
    bench.write(98, 5)
    bench.write(64, 1)
    bench.devices.fault("j0", "brown_out")
    assert bench.ask(frames.ping(1)) is None
    bench.wait(300)
    assert bench.read(64) == 0
    assert bench.read(98) == 0
    assert bench.axes[0].law == (0.0, 0.0, 0.0, 0.0)


def test_a_dead_motor_is_limp_and_comes_back_as_after_power_on(bench: Bench) -> None:
    bench.write(64, 1)
    bench.devices.fault("j0", "dead")
    bench.wait(10)
    assert bench.axes[0].law == (0.0, 0.0, 0.0, 0.0)
    bench.devices.fault("j0", "clear")
    bench.wait(400)
    assert bench.read(64) == 0


def test_unknown_faults_and_models_are_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="unknown fault"):
        bench.devices.fault("j0", "melt")
    with pytest.raises(KeyError):
        bench.devices.fault("nobody", "dead")
    with pytest.raises(ValueError, match="no emulated servo is called 'XL320'"):
        DynamixelDevices([("j", 1, "XL320", Axis())])
