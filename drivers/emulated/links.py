"""A wire that loses, damages, delays and chops what it carries, on demand."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal

BYTE_NS = 10_000  # one byte on a UART at 1 Mbit/s: the pace of a reply that comes byte by byte
_CAN_ID_BITS = 11
_CAN_DATA_START = 8


@dataclass(frozen=True, slots=True)
class LinkFaults:
    """What is wrong with a wire, in both directions."""

    loss: float = 0.0
    """Probability that a byte (serial) or a frame (CAN) disappears."""
    corrupt: float = 0.0
    """Probability that one bit of a byte (serial) or of a frame (CAN) flips.

    A CAN controller throws a frame with a wrong CRC away, so this is damage that happened behind the CRC.
    """
    delay_s: float = 0.0
    """Extra time in each direction, s."""
    split: bool = False
    """Send serial replies one byte at a time, at the pace of a UART at 1 Mbit/s."""

    def __post_init__(self) -> None:
        for name, value in (("loss", self.loss), ("corrupt", self.corrupt)):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is a probability: expected 0 to 1, found {value}")
        if not 0.0 <= self.delay_s <= 10.0:
            raise ValueError(f"delay_s: expected 0 to 10 s, found {self.delay_s}")


class Link:
    """One wire with its faults. `to_device` and `to_host` say what arrives at the other end, and when."""

    def __init__(self, kind: Literal["serial", "can"], rng: Random) -> None:
        self._serial = kind == "serial"
        self._rng = rng
        self._last_ns = {"device": 0, "host": 0}
        self._delay_ns = 0
        self._harmful = False
        self._split = False
        self.faults = LinkFaults()

    def set(self, faults: LinkFaults) -> None:
        """Use these faults for everything that is sent from now on."""
        self.faults = faults
        self._delay_ns = round(faults.delay_s * 1e9)
        self._harmful = faults.loss > 0 or faults.corrupt > 0
        self._split = faults.split and self._serial

    def to_device(self, data: bytes, sent_ns: int) -> list[tuple[int, bytes]]:
        """Arrivals at the motors: (time, bytes)."""
        return self._carry("device", data, sent_ns)

    def to_host(self, data: bytes, sent_ns: int) -> list[tuple[int, bytes]]:
        """Arrivals at the host: (time, bytes)."""
        arrivals = self._carry("host", data, sent_ns)
        if not self._split:
            return arrivals
        pieces = [
            (at + place * BYTE_NS, chunk[place : place + 1])
            for at, chunk in arrivals
            for place in range(len(chunk))
        ]
        if pieces:
            self._last_ns["host"] = pieces[-1][0]
        return pieces

    def _carry(self, end: str, data: bytes, sent_ns: int) -> list[tuple[int, bytes]]:
        if self._harmful:
            data = self._harm_bytes(data) if self._serial else self._harm_frame(data)
            if not data:
                return []
        # A wire never reorders: a shorter delay does not let new bytes overtake those on their way.
        at = max(sent_ns + self._delay_ns, self._last_ns[end])
        self._last_ns[end] = at
        return [(at, data)]

    def _harm_bytes(self, data: bytes) -> bytes:
        rng, faults = self._rng, self.faults
        harmed = bytearray()
        for byte in data:
            if rng.random() < faults.loss:
                continue
            if rng.random() < faults.corrupt:
                byte ^= 1 << rng.randrange(8)
            harmed.append(byte)
        return bytes(harmed)

    def _harm_frame(self, frame: bytes) -> bytes:
        rng, faults = self._rng, self.faults
        if rng.random() < faults.loss:
            return b""
        if rng.random() >= faults.corrupt:
            return frame
        harmed = bytearray(frame)
        bit = rng.randrange(_CAN_ID_BITS + 8 * frame[4])
        # The id is the first word of `struct can_frame` in host order: little-endian on every target.
        place = bit if bit < _CAN_ID_BITS else _CAN_DATA_START * 8 + bit - _CAN_ID_BITS
        harmed[place // 8] ^= 1 << place % 8
        return bytes(harmed)
