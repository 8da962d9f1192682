"""Golden vectors and properties of the packets. Vectors: the ROBOTIS e-manual and its own SDK's encoder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.motors.dynamixel import frames
from drivers.motors.dynamixel.frames import Instruction, Status, crc16, stuff, unstuff

INSTRUCTIONS = [
    ("ping 1", frames.ping(1), "FF FF FD 00 01 03 00 01 19 4E"),
    ("broadcast ping", frames.ping(0xFE), "FF FF FD 00 FE 03 00 01 31 42"),
    ("read 132/4", frames.read(1, 132, 4), "FF FF FD 00 01 07 00 02 84 00 04 00 1D 15"),
    ("write 116", frames.write(1, 116, b"\0\2\0\0"), "FF FF FD 00 01 09 00 03 74 00 00 02 00 00 CA 89"),
    ("reboot", frames.reboot(1), "FF FF FD 00 01 03 00 08 2F 4E"),
    (
        "clear",
        Instruction(1, 0x10, b"\x01DXL\x22").pack(),
        "FF FF FD 00 01 08 00 10 01 44 58 4C 22 B1 DC",
    ),
    ("sync read", frames.sync_read([1, 2], 132, 4), "FF FF FD 00 FE 09 00 82 84 00 04 00 01 02 CE FA"),
    (
        "sync write",
        frames.sync_write(116, [(1, b"\x96\0\0\0"), (2, b"\xaa\0\0\0")]),
        "FF FF FD 00 FE 11 00 83 74 00 04 00 01 96 00 00 00 02 AA 00 00 00 82 87",
    ),
    (
        "bulk read",
        frames.bulk_read([(1, 144, 2), (2, 146, 1)]),
        "FF FF FD 00 FE 0D 00 92 01 90 00 02 00 02 92 00 01 00 1A 05",
    ),
    (
        "bulk write",
        Instruction(0xFE, 0x93, bytes.fromhex("01 20 00 02 00 A0 00 02 1F 00 01 00 50")).pack(),
        "FF FF FD 00 FE 10 00 93 01 20 00 02 00 A0 00 02 1F 00 01 00 50 B7 68",
    ),
    (
        "fast sync read",
        frames.sync_read([3, 7, 4], 132, 4, fast=True),
        "FF FF FD 00 FE 0A 00 8A 84 00 04 00 03 07 04 20 F2",
    ),
    (
        "fast bulk read",
        frames.bulk_read([(3, 132, 4), (7, 124, 2)], fast=True),
        "FF FF FD 00 FE 0D 00 9A 03 84 00 04 00 07 7C 00 02 00 67 C5",
    ),
    (
        "reg write 116",
        Instruction(1, 0x04, b"\x74\0\0\2\0\0").pack(),
        "FF FF FD 00 01 09 00 04 74 00 00 02 00 00 B9 0E",
    ),
    (
        "reg write 104",
        Instruction(1, 0x04, b"\x68\0\xc8\0\0\0").pack(),
        "FF FF FD 00 01 09 00 04 68 00 C8 00 00 00 AE 8E",
    ),
    ("action", Instruction(1, 0x05).pack(), "FF FF FD 00 01 03 00 05 02 CE"),
    ("action to all", Instruction(0xFE, 0x05).pack(), "FF FF FD 00 FE 03 00 05 2A C2"),
    ("factory reset", Instruction(1, 0x06, b"\1").pack(), "FF FF FD 00 01 04 00 06 01 A1 E6"),
    (
        "backup store",
        Instruction(1, 0x20, b"\1CTRL").pack(),
        "FF FF FD 00 01 08 00 20 01 43 54 52 4C 16 F5",
    ),
    (
        "backup restore",
        Instruction(1, 0x20, b"\2CTRL").pack(),
        "FF FF FD 00 01 08 00 20 02 43 54 52 4C 9E F5",
    ),
    ("torque on", frames.write(1, 64, b"\1"), "FF FF FD 00 01 06 00 03 40 00 01 DB 66"),
    ("watchdog 200 ms", frames.write(1, 98, b"\x0a"), "FF FF FD 00 01 06 00 03 62 00 0A 4A E4"),
    ("watchdog clear", frames.write(1, 98, b"\0"), "FF FF FD 00 01 06 00 03 62 00 00 76 E4"),
    ("sync read 126/10", frames.sync_read([1, 2], 126, 10), "FF FF FD 00 FE 09 00 82 7E 00 0A 00 01 02 38 92"),
    (
        "fast sync read 126/10",
        frames.sync_read([1, 2], 126, 10, fast=True),
        "FF FF FD 00 FE 09 00 8A 7E 00 0A 00 01 02 BB 1A",
    ),
    (
        "stuffed",
        frames.write(1, 116, b"\xff\xff\xfd\x00"),
        "FF FF FD 00 01 0A 00 03 74 00 FF FF FD FD 00 21 E7",
    ),
    (
        "stuffed twice",
        frames.write(1, 168, b"\xff\xff\xfd\xff\xff\xfd"),
        "FF FF FD 00 01 0D 00 03 A8 00 FF FF FD FD FF FF FD FD 17 B7",
    ),
]

STATUSES = [
    (Status(1, 0, b"\x06\x04\x26"), "FF FF FD 00 01 07 00 55 00 06 04 26 65 5D"),
    (Status(2, 0, b"\x06\x04\x26"), "FF FF FD 00 02 07 00 55 00 06 04 26 6F 6D"),
    (Status(1, 0, b"\xa6\0\0\0"), "FF FF FD 00 01 08 00 55 00 A6 00 00 00 8C C0"),
    (Status(2, 0, b"\x1f\x08\0\0"), "FF FF FD 00 02 08 00 55 00 1F 08 00 00 BA BE"),
    (Status(1, 0), "FF FF FD 00 01 04 00 55 00 A1 0C"),
    (Status(1, 0, b"\x77\0"), "FF FF FD 00 01 06 00 55 00 77 00 C3 69"),
    (Status(2, 0, b"\x24"), "FF FF FD 00 02 05 00 55 00 24 8B A9"),
    (Status(1, 0, b"\xff\xff\xfd\xff"), "FF FF FD 00 01 09 00 55 00 FF FF FD FD FF DA 9E"),
    (Status(1, 3), "FF FF FD 00 01 04 00 55 03 AB 0C"),
    (Status(1, 4), "FF FF FD 00 01 04 00 55 04 BA 8C"),
    (Status(1, 7), "FF FF FD 00 01 04 00 55 07 B0 8C"),
    (Status(1, 0x80), "FF FF FD 00 01 04 00 55 80 A2 8F"),
]

FAST = "FF FF FD 00 FE 19 00 55 00 03 A6 00 00 00 84 08 00 07 1F 08 00 00 16 CA 00 04 FF 03 00 00 D1 9E"


def bitwise_crc(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x8005 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def test_crc_check_value() -> None:
    assert crc16(b"123456789") == 0xFEE8


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_crc_is_the_bitwise_one_and_can_be_continued(data: bytes, more: bytes) -> None:
    assert crc16(data) == bitwise_crc(data)
    if len(more) % 2 == 0:
        assert crc16(more, crc16(data)) == bitwise_crc(data + more)


def test_an_odd_number_of_bytes_cannot_continue_a_crc() -> None:
    with pytest.raises(ValueError, match="odd"):
        crc16(b"\1", 5)


@pytest.mark.parametrize(("packet", "golden"), [i[1:] for i in INSTRUCTIONS], ids=[i[0] for i in INSTRUCTIONS])
def test_instruction_vectors(packet: bytes, golden: str) -> None:
    assert packet == bytes.fromhex(golden)
    assert Instruction.parse(packet).pack() == packet


@pytest.mark.parametrize(("status", "golden"), STATUSES, ids=[s[1] for s in STATUSES])
def test_status_vectors(status: Status, golden: str) -> None:
    assert status.pack() == bytes.fromhex(golden)
    assert Status.parse(bytes.fromhex(golden)) == status


def test_fast_reply_vector() -> None:
    slots = [Status(3, 0, b"\xa6\0\0\0"), Status(7, 0, b"\x1f\x08\0\0"), Status(4, 0, b"\xff\x03\0\0")]
    assert frames.pack_fast(slots) == bytes.fromhex(FAST)


@given(st.lists(st.sampled_from([0xFF, 0xFD, 0xFE, 0x00]), max_size=60).map(bytes))
def test_stuffing_hides_every_header_and_can_be_undone(body: bytes) -> None:
    stuffed = stuff(body)
    assert unstuff(stuffed) == body
    starts = [at for at in range(len(stuffed)) if stuffed[at : at + 3] == b"\xff\xff\xfd"]
    assert all(stuffed[at + 3 : at + 4] == b"\xfd" for at in starts)
    assert frames.HEADER not in stuffed


@given(st.integers(0, 252), st.integers(0, 255), st.binary(max_size=100))
def test_packets_survive_the_wire(ident: int, number: int, params: bytes) -> None:
    status = Status(ident, number, params)
    assert Status.parse(status.pack()) == status
    if number != frames.STATUS:
        instruction = Instruction(ident, number, params)
        assert Instruction.parse(instruction.pack()) == instruction


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        ("FF FF FD 00 01 04 00 55 00 A1 0D", "CRC"),
        ("FF FF FD 00 01 05 00 55 00 A1 0C", "LENGTH"),
        ("FF FF FE 00 01 04 00 55 00 A1 0C", "not a packet"),
        ("FF FF FD 00 01 03 00 01 19 4E", "instruction"),
    ],
)
def test_what_is_not_a_status_packet_is_refused(packet: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Status.parse(bytes.fromhex(packet))
