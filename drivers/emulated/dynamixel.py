"""The motors' side of a Dynamixel bus: one half-duplex wire, all servos on it, Protocol 2.0."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from drivers.emulated.axis import Axis
from drivers.emulated.dynamixel_servo import FACTORY_FIRMWARE, Servo
from drivers.motors.dynamixel.frames import BROADCAST, Code, Instruction, Status, pack_fast
from drivers.motors.dynamixel.stream import PacketStream
from drivers.motors.dynamixel.table import BAUD_CODES, BAUD_RATE

GAP_NS = 1_500_000
"""Longest pause between two bytes of a packet; after it the motors look for a new header."""
_LONGEST = 1024
_BAUDS = {code: baud for baud, code in BAUD_CODES.items()}


class DynamixelDevices:
    """All servos of one bus. See `DeviceBus` for what the methods promise.

    The wire is modelled in time: a byte takes 10 bits at the motors' baud, an answer begins when the request
    is through and the return delay is over, and answers never overlap. A motor that is dead or missing leaves
    its place in a Sync Read silent and the others answer; it cuts a Fast Sync Read off, as its slot cannot be
    filled by another one. (The manual says neither; this is the cautious reading.)
    """

    def __init__(self, motors: Sequence[tuple[str, int, str, Axis]], firmware: int = FACTORY_FIRMWARE) -> None:
        """motors: (joint's name, id, model, axis)."""
        self.servos = {joint: Servo(joint, ident, model, axis, firmware) for joint, ident, model, axis in motors}
        self._stream = PacketStream(_LONGEST)
        self._heard_ns = 0
        self._wire_free_ns = 0

    def receive(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        """Bytes from the wire, any piece of the stream; answers as (time of their last byte, bytes)."""
        if self._stream.pending and now_ns - self._heard_ns > GAP_NS:
            self._stream.reset()
        self._heard_ns = now_ns
        self._wire_free_ns = max(self._wire_free_ns, now_ns) + len(data) * self._byte_ns
        replies: list[tuple[int, bytes]] = []
        for packet in self._stream.feed(data):
            if isinstance(packet, Instruction):
                for servo in self.servos.values():
                    servo.hear(now_ns)
                self._obey(packet, replies)
        awake = self._awake()
        for ident in self._stream.rejected:
            if ident in awake:
                self._reply(replies, awake[ident], awake[ident].crc_error())
        return replies

    def advance(self, now_ns: int) -> None:
        """Watchdogs, heat, restarts and profiles; the drive laws go to the axes."""
        for servo in self.servos.values():
            servo.advance(now_ns)

    def fault(self, joint: str, kind: str, value: float = 1.0) -> None:
        """Break or repair the motor of this joint."""
        self.servos[joint].fault(kind, value)

    def _awake(self) -> dict[int, Servo]:
        """The motors that hear, by id, in the order of their ids."""
        return {servo.id: servo for servo in sorted(self.servos.values(), key=_id) if servo.awake}

    def _obey(self, packet: Instruction, replies: list[tuple[int, bytes]]) -> None:
        params = packet.params
        match packet.code:
            case Code.SYNC_READ | Code.FAST_SYNC_READ | Code.SYNC_WRITE if len(params) >= 4:
                address, length = struct.unpack_from("<HH", params)
                if packet.code == Code.SYNC_WRITE:
                    self._write([(ident, address, data) for ident, data in _pieces(params[4:], length)])
                else:
                    items = [(ident, address, length) for ident in params[4:]]
                    self._read(items, packet.code == Code.FAST_SYNC_READ, replies)
            case Code.BULK_READ | Code.FAST_BULK_READ:
                whole = len(params) - len(params) % 5
                self._read(
                    list(struct.iter_unpack("<BHH", params[:whole])), packet.code == Code.FAST_BULK_READ, replies
                )
            case Code.BULK_WRITE:
                self._write(_bulk(params))
            case _:
                self._address(packet, replies)

    def _address(self, packet: Instruction, replies: list[tuple[int, bytes]]) -> None:
        for ident, servo in self._awake().items():
            if packet.id == BROADCAST or servo.listens_to(packet.id):
                status = servo.handle(packet)
                if packet.id in (BROADCAST, ident):
                    self._reply(replies, servo, status)

    def _write(self, items: list[tuple[int, int, bytes]]) -> None:
        awake = self._awake()
        for ident, address, data in items:
            if ident in awake:
                awake[ident].write(address, data)

    def _read(self, items: Sequence[tuple[int, int, int]], fast: bool, replies: list[tuple[int, bytes]]) -> None:
        awake = self._awake()
        slots: list[Status] = []
        delay_ns = 0
        for ident, address, length in items:
            servo = awake.get(ident)
            status = servo.answer_read(address, length) if servo is not None else None
            if servo is None or status is None or (fast and not servo.fast):
                if fast:
                    break
            elif fast:
                slots.append(Status(ident, status.error, status.params.ljust(length, b"\0")))
                delay_ns = max(delay_ns, servo.return_delay_ns)
            else:
                self._reply(replies, servo, status)
        if slots:
            announced = 1 + sum(length + 4 for _, _, length in items)
            self._send(replies, pack_fast(slots, announced), delay_ns)

    def _reply(self, replies: list[tuple[int, bytes]], servo: Servo, status: Status | None) -> None:
        if status is not None:
            self._send(replies, status.pack(), servo.return_delay_ns)

    def _send(self, replies: list[tuple[int, bytes]], packet: bytes, delay_ns: int) -> None:
        self._wire_free_ns += delay_ns + len(packet) * self._byte_ns
        replies.append((self._wire_free_ns, packet))

    @property
    def _byte_ns(self) -> int:
        """Of the first motor: they all have the same baud, or could not talk."""
        servo = next(iter(self.servos.values()), None)
        return 10_000_000_000 // _BAUDS[servo.table[BAUD_RATE]] if servo is not None else 0


def _id(servo: Servo) -> int:
    return servo.id


def _pieces(params: bytes, length: int) -> list[tuple[int, bytes]]:
    size = length + 1
    whole = len(params) - len(params) % size
    return [(params[at], params[at + 1 : at + size]) for at in range(0, whole, size)]


def _bulk(params: bytes) -> list[tuple[int, int, bytes]]:
    items = []
    while len(params) >= 5:
        ident, address, length = struct.unpack_from("<BHH", params)
        data = params[5 : 5 + length]
        if len(data) < length:
            break
        items.append((ident, address, data))
        params = params[5 + length :]
    return items
