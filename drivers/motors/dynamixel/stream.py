"""Cuts the byte stream of a bus into packets, whatever is lost, damaged, split or glued. Pure, no clock."""

from __future__ import annotations

from collections.abc import Mapping

from drivers.motors.dynamixel.frames import (
    BROADCAST,
    CRC_TABLE,
    HEADER,
    OVERHEAD,
    STATUS,
    Instruction,
    Status,
    crc16,
    swap,
    unstuff,
)

_KNOWN = 8  # bytes that tell what a packet is: header, id, length, instruction
_SHORTEST = 3


class PacketStream:
    """Feed bytes, get packets.

    Every slot of a fast reply is checked on its own: its CRC continues from the CRC of the slot before, which
    is in the stream, so damage costs the slots that it hits and no other.
    """

    def __init__(self, longest: int, ids: tuple[int, ...] = (), fast: Mapping[int, int] | None = None) -> None:
        """What may come: LENGTH of at most `longest`, and fast replies of the motors `ids`, in this order.

        `fast`: LENGTH of a fast reply -> bytes of one slot (error, id, data, CRC; an even number).
        """
        self.corrupt = 0
        """Packets and slots thrown away for a wrong checksum, length or content."""
        self.rejected: list[int] = []
        """Ids of the packets with a wrong CRC in the last `feed`."""
        self._longest = longest
        self._ids = ids
        self._fast = fast or {}
        self._rest = b""
        self._slot = 0  # next slot of the fast reply that is being read, 0-based
        self._size = 0  # bytes of its slots; 0: not in a fast reply
        self._crc = 0

    @property
    def pending(self) -> bool:
        """Whether a packet has begun and not ended."""
        return bool(self._rest) or self._size > 0

    def reset(self) -> None:
        """Forget what has begun."""
        self._rest = b""
        self._size = 0

    def feed(self, data: bytes) -> list[Instruction | Status]:
        """Take in a piece of the stream; the packets and slots that are complete now, in their order."""
        found: list[Instruction | Status] = []
        if self.rejected:
            self.rejected = []
        buffer = self._rest + data if self._rest else data
        total = len(buffer)
        at = 0
        while True:
            if self._size:
                at, wait = self._slots(buffer, at, found)
                if wait:
                    break
                continue
            start = buffer.find(HEADER, at)
            if start < 0:
                # The first bytes of a header may be the last ones here.
                at = max(at, total - len(HEADER) + 1)
                break
            at = start
            if total - at < _KNOWN:
                break
            length = buffer[at + 5] | buffer[at + 6] << 8
            if buffer[at + 4] == BROADCAST and buffer[at + 7] == STATUS and length in self._fast:
                end = at + OVERHEAD + length
                if end <= total and self._whole(buffer, at, end, found):
                    at = end
                    continue
                self._slot, self._size = 0, self._fast[length]
                self._crc = crc16(buffer[at : at + _KNOWN])
                at += _KNOWN
                continue
            if not _SHORTEST <= length <= self._longest:
                self.corrupt += 1
                at += len(HEADER)
                continue
            end = at + OVERHEAD + length
            if end > total:
                break
            packet = buffer[at : end - 2]
            if crc16(packet) != buffer[end - 2] | buffer[end - 1] << 8:
                self.corrupt += 1
                self.rejected.append(buffer[at + 4])
                at += len(HEADER)  # not to the end: a lost byte makes a packet reach into the next one
                continue
            body = unstuff(packet[OVERHEAD:])
            if body[0] != STATUS:
                found.append(Instruction(packet[4], body[0], body[1:]))
            elif len(body) > 1:
                found.append(Status(packet[4], body[1], body[2:]))
            else:
                self.corrupt += 1
            at = end
        self._rest = buffer[at:]
        return found

    def _whole(self, buffer: bytes, at: int, end: int, found: list[Instruction | Status]) -> bool:
        """Take a whole fast reply at once, if nothing in it is damaged: the usual case, and four times as quick.

        The last CRC runs over all slots and their CRCs.
        """
        if crc16(buffer[at : end - 2]) != buffer[end - 2] | buffer[end - 1] << 8:
            return False
        size = (end - at - _KNOWN) // len(self._ids)
        places = range(at + _KNOWN, end, size)
        if tuple(buffer[at + _KNOWN + 1 : end : size]) != self._ids:
            return False
        found += [Status(buffer[one + 1], buffer[one], buffer[one + 2 : one + size - 2]) for one in places]
        return True

    def _slots(self, buffer: bytes, at: int, found: list[Instruction | Status]) -> tuple[int, bool]:
        """Read slots from `at` on; where to go on, and whether more bytes are needed first."""
        size = self._size
        while self._slot < len(self._ids):
            end = at + size
            if end > len(buffer):
                return at, True
            crc = buffer[end - 2] | buffer[end - 1] << 8
            if buffer[at + 1] != self._ids[self._slot] or crc16(buffer[at : end - 2], self._crc) != crc:
                return self._after_damage(buffer, at)
            found.append(Status(buffer[at + 1], buffer[at], buffer[at + 2 : end - 2]))
            self._crc = CRC_TABLE[crc ^ swap(crc)]
            self._slot += 1
            at = end
        self._size = 0
        return at, False

    def _after_damage(self, buffer: bytes, at: int) -> tuple[int, bool]:
        """The slot at `at` is bad: go on with a later good one, with the next packet, or wait for more."""
        size = self._size
        left = len(self._ids) - self._slot
        for later in range(1, left):
            start, end = at + later * size, at + (later + 1) * size
            if end > len(buffer):
                break
            before = buffer[start - 2] | buffer[start - 1] << 8
            crc = CRC_TABLE[before ^ swap(before)]
            if (
                buffer[start + 1] == self._ids[self._slot + later]
                and crc16(buffer[start : end - 2], crc) == buffer[end - 2] | buffer[end - 1] << 8
            ):
                self.corrupt += later
                self._slot += later
                self._crc = crc
                return start, False
        following = self._next_packet(buffer, at)
        if following < 0 and at + left * size > len(buffer):
            return at, True
        self.corrupt += 1
        self._size = 0
        return (following if following >= 0 else at + 1), False

    def _next_packet(self, buffer: bytes, at: int) -> int:
        """Where a status packet begins that may be expected here; -1 if nowhere.

        A fast reply is not stuffed, so its data may look like a header; they do not look like all eight bytes.
        """
        while (at := buffer.find(HEADER, at)) >= 0 and len(buffer) - at >= _KNOWN:
            ident, length = buffer[at + 4], buffer[at + 5] | buffer[at + 6] << 8
            if buffer[at + 7] == STATUS and (
                length in self._fast
                if ident == BROADCAST
                else ident in self._ids and _SHORTEST < length <= self._longest
            ):
                return at
            at += 1
        return -1
