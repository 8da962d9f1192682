"""Packets of Dynamixel Protocol 2.0: CRC, byte stuffing, instruction and status packets. Pure, no clock.

Source: the ROBOTIS e-manual, "Protocol 2.0".
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

HEADER = b"\xff\xff\xfd\x00"
BROADCAST = 0xFE
ID_MAX = 252
STATUS = 0x55
OVERHEAD = 7
"""Bytes of a packet that its LENGTH field does not count: header, id and the field itself."""
ALERT = 0x80
"""Bit of a status packet's error byte: the motor has a hardware error (register 70)."""
_STUFFED = b"\xff\xff\xfd"


class Code(IntEnum):
    """Instruction codes."""

    PING = 0x01
    READ = 0x02
    WRITE = 0x03
    REG_WRITE = 0x04
    ACTION = 0x05
    FACTORY_RESET = 0x06
    REBOOT = 0x08
    CLEAR = 0x10
    BACKUP = 0x20
    SYNC_READ = 0x82
    SYNC_WRITE = 0x83
    FAST_SYNC_READ = 0x8A
    BULK_READ = 0x92
    BULK_WRITE = 0x93
    FAST_BULK_READ = 0x9A


class Error(IntEnum):
    """Error numbers in bits 0-6 of a status packet's error byte."""

    NONE = 0
    RESULT_FAIL = 1
    INSTRUCTION = 2
    CRC = 3
    DATA_RANGE = 4
    DATA_LENGTH = 5
    DATA_LIMIT = 6
    ACCESS = 7


ERROR_WORDS: dict[int, str] = {
    Error.RESULT_FAIL: "could not process the packet",
    Error.INSTRUCTION: "undefined instruction",
    Error.CRC: "received a damaged packet",
    Error.DATA_RANGE: "value out of range, or its bus watchdog has tripped",
    Error.DATA_LENGTH: "wrong data length",
    Error.DATA_LIMIT: "value beyond one of its limit registers",
    Error.ACCESS: "register read-only, undefined, or locked while torque is on",
}


def _crc_of_two_bytes() -> array[int]:
    one = []
    for byte in range(256):
        crc = byte << 8
        for _ in range(8):
            crc = (crc << 1) ^ 0x8005 if crc & 0x8000 else crc << 1
        one.append(crc & 0xFFFF)
    return array("H", [one[crc >> 8 ^ low] ^ (crc << 8 & 0xFF00) for crc in one for low in range(256)])


# Two bytes a step: the CRC is as wide as two bytes, so one look-up takes both in. Byte by byte it would be most
# of what a tick spends on this bus. A list would be quicker in a benchmark and slower in a robot, where other
# work has driven its two megabytes out of the cache.
CRC_TABLE = _crc_of_two_bytes()
_WORDS = [struct.Struct(f">{count}H") for count in range(512)]


def crc16(data: bytes, crc: int = 0) -> int:
    """CRC-16, polynomial 0x8005, not reflected, no final XOR; `crc` is the CRC of the bytes before.

    With an odd number of bytes `crc` must be 0.
    """
    if len(data) & 1:
        # A leading zero changes nothing as long as the CRC is still 0.
        if crc:
            raise ValueError("an odd number of bytes can only be taken in from CRC 0")
        data = b"\0" + data
    table = CRC_TABLE
    for word in _WORDS[len(data) >> 1].unpack(data):
        crc = table[crc ^ word]
    return crc


def swap(crc: int) -> int:
    """The two bytes of a CRC as the word that is on the wire, low byte first."""
    return (crc >> 8) | (crc & 0xFF) << 8


def stuff(body: bytes) -> bytes:
    """Body of a packet (instruction .. last parameter) with FD added after each FF FF FD."""
    if _STUFFED not in body:
        return body
    return body.replace(_STUFFED, _STUFFED + b"\xfd")


def unstuff(body: bytes) -> bytes:
    """The inverse of `stuff`."""
    if _STUFFED not in body:
        return body
    return body.replace(_STUFFED + b"\xfd", _STUFFED)


def finish(packet: bytes) -> bytes:
    """The packet with its CRC."""
    crc = crc16(packet)
    return packet + bytes((crc & 0xFF, crc >> 8))


def _frame(ident: int, body: bytes) -> bytes:
    body = stuff(body)
    return finish(HEADER + struct.pack("<BH", ident, len(body) + 2) + body)


def _body(packet: bytes) -> bytes:
    if len(packet) < OVERHEAD + 3 or not packet.startswith(HEADER):
        raise ValueError(f"not a packet: {packet.hex(' ')}")
    if len(packet) != OVERHEAD + int.from_bytes(packet[5:7], "little"):
        raise ValueError(f"LENGTH does not fit the {len(packet)} bytes of the packet: {packet.hex(' ')}")
    if crc16(packet[:-2]) != int.from_bytes(packet[-2:], "little"):
        raise ValueError(f"wrong CRC: {packet.hex(' ')}")
    return unstuff(packet[7:-2])


@dataclass(frozen=True, slots=True)
class Instruction:
    """A packet from the host."""

    id: int
    code: int
    params: bytes = b""

    def pack(self) -> bytes:
        """The packet as it is on the wire."""
        return _frame(self.id, bytes((self.code,)) + self.params)

    @classmethod
    def parse(cls, packet: bytes) -> Instruction:
        """From one whole packet. Raises ValueError."""
        body = _body(packet)
        if body[0] == STATUS:
            raise ValueError("a status packet, not an instruction")
        return cls(packet[4], body[0], body[1:])


@dataclass(frozen=True, slots=True)
class Status:
    """A motor's answer, or its slot in a fast reply."""

    id: int
    error: int
    params: bytes = b""

    @property
    def number(self) -> int:
        """Error number, without the ALERT bit; see `Error`."""
        return self.error & 0x7F

    @property
    def refusal(self) -> str | None:
        """Why the motor did not do it; None: it did."""
        return ERROR_WORDS.get(self.number, f"error {self.number}") if self.number else None

    def pack(self) -> bytes:
        """The packet as it is on the wire."""
        return _frame(self.id, bytes((STATUS, self.error)) + self.params)

    @classmethod
    def parse(cls, packet: bytes) -> Status:
        """From one whole packet. Raises ValueError."""
        body = _body(packet)
        if body[0] != STATUS or len(body) < 2:
            raise ValueError("an instruction, not a status packet")
        return cls(packet[4], body[1], body[2:])


def pack_fast(slots: Sequence[Status], length: int | None = None) -> bytes:
    """Reply to Fast Sync/Bulk Read: all motors in one packet, never stuffed, a running CRC after each slot.

    `length`: the LENGTH that the header announces; by default that of these slots.
    """
    if length is None:
        length = 1 + sum(len(slot.params) + 4 for slot in slots)
    packet = HEADER + struct.pack("<BHB", BROADCAST, length, STATUS)
    for slot in slots:
        packet = finish(packet + bytes((slot.error, slot.id)) + slot.params)
    return packet


def ping(ident: int) -> bytes:
    """Ask for model number and firmware."""
    return Instruction(ident, Code.PING).pack()


def read(ident: int, address: int, length: int) -> bytes:
    """Read `length` bytes from `address`."""
    return Instruction(ident, Code.READ, struct.pack("<HH", address, length)).pack()


def write(ident: int, address: int, data: bytes) -> bytes:
    """Write `data` from `address` on."""
    return Instruction(ident, Code.WRITE, struct.pack("<H", address) + data).pack()


def reboot(ident: int) -> bytes:
    """Restart a motor."""
    return Instruction(ident, Code.REBOOT).pack()


def sync_read(ids: Sequence[int], address: int, length: int, fast: bool = False) -> bytes:
    """Read the same registers of several motors."""
    code = Code.FAST_SYNC_READ if fast else Code.SYNC_READ
    return Instruction(BROADCAST, code, struct.pack("<HH", address, length) + bytes(ids)).pack()


def bulk_read(items: Sequence[tuple[int, int, int]], fast: bool = False) -> bytes:
    """Read registers of several motors; items: (id, address, length)."""
    code = Code.FAST_BULK_READ if fast else Code.BULK_READ
    return Instruction(BROADCAST, code, b"".join(struct.pack("<BHH", *item) for item in items)).pack()


def sync_write(address: int, items: Sequence[tuple[int, bytes]]) -> bytes:
    """Write the same registers of several motors; items: (id, data), all data equally long. Never answered."""
    params = struct.pack("<HH", address, len(items[0][1])) + b"".join(bytes((i,)) + data for i, data in items)
    return Instruction(BROADCAST, Code.SYNC_WRITE, params).pack()
