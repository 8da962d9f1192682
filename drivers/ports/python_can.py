"""A CAN bus behind any interface of the python-can library: slower than a socket, and only as non-blocking as
the library's own driver of that interface. Meant for the bench; a robot uses SocketCAN."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Sequence

import can

from drivers.errors import PortError
from drivers.ports.can import (
    ERROR_FLAG,
    EXTENDED_FLAG,
    RECEIVE_MAX,
    REMOTE_FLAG,
    STANDARD_MASK,
    CanFrame,
)

_EXTENDED_MASK = 0x1FFFFFFF


class PythonCanPort:
    """One python-can bus with the interface of `CanPort`."""

    def __init__(self, interface: str, channel: str, bitrate: int = 1_000_000) -> None:
        """Open it. Raises PortError."""
        self.down = False
        self._interface = interface
        self._channel = channel
        self._bitrate = bitrate
        self._lock = threading.Lock()  # python-can's own buses are not made for two threads
        try:
            self._bus = self._open()
        except Exception as error:  # what a driver raises is its own affair: ImportError, OSError, CanError ...
            known = ", ".join(sorted(can.VALID_INTERFACES))
            raise PortError(
                f"CAN interface {interface}, channel {channel}: {error}; "
                f"`interface` is socketcan, unix, or one of python-can's: {known}"
            ) from error

    def fileno(self) -> int:
        """Descriptor that becomes readable when a frame is there; -1 where the interface has none."""
        try:
            return int(self._bus.fileno())
        except (NotImplementedError, can.CanError, OSError):
            return -1

    def listen_to(self, ids: Iterable[int]) -> None:
        """Nothing: python-can's own filter would end `receive` at every frame that it rejects."""

    def send(self, frames: Sequence[bytes]) -> int:
        """Send in order; the number of frames taken."""
        sent = 0
        if not self.down:
            for frame in frames:
                if not self._send(frame):
                    break
                sent += 1
        return sent

    def receive(self, limit: int = RECEIVE_MAX) -> list[bytes]:
        """Frames that have arrived, oldest first, at most `limit`."""
        frames: list[bytes] = []
        if self.down:
            return frames
        try:
            while len(frames) < limit and (message := self._bus.recv(0)) is not None:
                frames.append(_pack(message))
        except (can.CanError, OSError):
            self.down = True
        return frames

    def shout(self, frames: Sequence[bytes]) -> None:
        """Try to send each frame, whatever becomes of the others; callable from any thread."""
        for frame in frames:
            self._send(frame)

    def reopen(self, now_ns: int) -> bool:
        """Only tells whether it is up: opening an adapter may take seconds, so that is left to a new connect."""
        return not self.down

    def close(self) -> None:
        """Close the bus."""
        self.down = True
        with contextlib.suppress(Exception):
            self._bus.shutdown()

    def _open(self) -> can.BusABC:
        return can.Bus(channel=self._channel, interface=self._interface, bitrate=self._bitrate)

    def _send(self, packed: bytes) -> bool:
        frame = CanFrame.parse(packed)
        message = can.Message(arbitration_id=frame.id & STANDARD_MASK, is_extended_id=False, data=frame.data)
        try:
            with self._lock:
                self._bus.send(message, timeout=0)
        except (can.CanError, OSError):
            return False
        return True


def _pack(message: can.Message) -> bytes:
    can_id = message.arbitration_id & _EXTENDED_MASK
    if message.is_extended_id:
        can_id |= EXTENDED_FLAG
    if message.is_remote_frame:
        can_id |= REMOTE_FLAG
    if message.is_error_frame:
        can_id |= ERROR_FLAG
    if len(message.data) > 8:
        return bytes(message.data).ljust(72, b"\0")  # CAN FD: the size tells, as on a socket
    return CanFrame(can_id, bytes(message.data)).pack()
