"""CAN ports: classic CAN frames over SocketCAN, over a Unix socket, or over any python-can interface.

On every port a frame is the 16 bytes of Linux' `struct can_frame`: id and flags (u32, host byte order), length,
three bytes of padding, eight bytes of data. What comes in any other size (a CAN FD frame has 72 bytes) is
handed on as it is; the caller counts it as corrupt.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from drivers.errors import PortError

FRAME_SIZE = 16
ERROR_FLAG = 0x20000000
REMOTE_FLAG = 0x40000000
EXTENDED_FLAG = 0x80000000
STANDARD_MASK = 0x7FF

RECEIVE_MAX = 64
"""Frames taken at once: a babbling bus must not hold the caller."""
RETRY_NS = 100_000_000
"""A port that went down is tried again this often."""

_FRAME = struct.Struct("=IB3x8s")
_HEADER = struct.Struct("=IB3x")
_FILTER = struct.Struct("=II")
_CAN_RAW_ERR_FILTER = 2  # linux/can/raw.h
_READ_SIZE = 72  # of `struct canfd_frame`: a frame of the wrong kind must not be cut to the right size
# linux/can/error.h: transmit timeout, controller state, no acknowledge, bus-off, restarted. Not the single bus
# errors: those may flood.
_ERROR_CLASSES = 0x001 | 0x004 | 0x020 | 0x040 | 0x100


@dataclass(frozen=True, slots=True)
class CanFrame:
    """One classic CAN frame."""

    id: int
    """Identifier with the flags of Linux' `can_id`; a standard data frame has no flag."""
    data: bytes
    """0 to 8 bytes."""

    def pack(self) -> bytes:
        """The 16 bytes of `struct can_frame`."""
        return _FRAME.pack(self.id, len(self.data), self.data)

    @classmethod
    def parse(cls, frame: bytes) -> CanFrame:
        """Raises ValueError when `frame` is not a classic CAN frame."""
        if len(frame) != FRAME_SIZE:
            raise ValueError(f"a classic CAN frame has {FRAME_SIZE} bytes, found {len(frame)}")
        can_id, length, data = _FRAME.unpack(frame)
        if length > 8:
            raise ValueError(f"a classic CAN frame has at most 8 data bytes, found {length}")
        return cls(can_id, data[:length])


def header(can_id: int, length: int = 8) -> bytes:
    """The first 8 bytes of a frame: everything but the data."""
    return _HEADER.pack(can_id, length)


def explain_error_frame(frame: CanFrame) -> str:
    """What a SocketCAN error frame says, in words (classes and bits of linux/can/error.h)."""
    words = []
    if frame.id & 0x001:
        words.append("transmit timeout")
    if frame.id & 0x004:
        state = frame.data[1] if len(frame.data) > 1 else 0
        if state & 0x03:
            words.append("the controller's buffer overflowed")
        if state & 0x0C:
            words.append("many errors (error warning)")
        if state & 0x30:
            words.append("very many errors (error passive): check bit rate, wiring and termination")
        if state & 0x40:
            words.append("the controller recovered")
    if frame.id & 0x020:
        words.append("no motor acknowledges frames: check power, wiring and bit rate")
    if frame.id & 0x040:
        words.append("bus-off: the controller has left the bus; set up the interface with `restart-ms 100`")
    if frame.id & 0x100:
        words.append("the controller restarted")
    return ", ".join(words) or f"error class {frame.id & 0x1FFFFFFF:#x}"


class CanPort(Protocol):
    """One CAN bus. After opening nothing here waits or raises; only one thread may use it, but for `shout`."""

    down: bool
    """The interface or the peer is gone: nothing is read or sent until `reopen` succeeds."""

    def fileno(self) -> int:
        """Descriptor that becomes readable when a frame is there; -1 where the interface has none."""

    def listen_to(self, ids: Iterable[int]) -> None:
        """Let only these standard ids, and error frames, through, where the interface can do that."""

    def send(self, frames: Sequence[bytes]) -> int:
        """Send in order; the number of frames taken. Those behind the first one that is refused are not tried."""

    def receive(self, limit: int = RECEIVE_MAX) -> list[bytes]:
        """Frames that have arrived, oldest first, at most `limit`."""

    def shout(self, frames: Sequence[bytes]) -> None:
        """Try to send each frame, whatever becomes of the others; callable from any thread."""

    def reopen(self, now_ns: int) -> bool:
        """Try to bring a port that is down up again, at most every RETRY_NS. True when it is up."""

    def close(self) -> None:
        """Close the port."""


def open_can(interface: str, channel: str, bitrate: int = 1_000_000) -> CanPort:
    """Open a CAN bus.

    `interface`: `socketcan` (channel: name of the network interface), `unix` (channel: path of a SOCK_SEQPACKET
    socket) or the name of a python-can interface. Raises PortError.
    """
    if interface in ("socketcan", "unix"):
        return SocketPort(interface, channel, bitrate)
    from drivers.ports.python_can import PythonCanPort

    return PythonCanPort(interface, channel, bitrate)


class SocketPort:
    """A CAN bus behind a socket that carries one `struct can_frame` per packet.

    When the bus comes back, the new socket takes the old one's descriptor (dup2): the number never belongs to
    anything else while another thread may be about to write to it.
    """

    def __init__(self, interface: str, channel: str, bitrate: int = 1_000_000) -> None:
        """Open it. Raises PortError."""
        self.down = False
        self._interface = interface
        self._channel = channel
        self._ids: list[int] = []
        self._retry_ns = 0
        try:
            self._socket = self._connect()
        except OSError as error:
            raise PortError(self._explain(error, bitrate)) from error

    def fileno(self) -> int:
        """Descriptor that becomes readable when a frame is there."""
        return self._socket.fileno()

    def listen_to(self, ids: Iterable[int]) -> None:
        """Set the kernel's filter; a Unix socket has none."""
        self._ids = sorted(ids)
        self._filter(self._socket)

    def send(self, frames: Sequence[bytes]) -> int:
        """Send in order; the number of frames taken."""
        if self.down:
            return 0
        send = self._socket.send
        sent = 0
        try:
            for frame in frames:
                send(frame)
                sent += 1
        except BlockingIOError:
            pass
        except OSError as error:
            # A full queue of a CAN interface says ENOBUFS; that passes, everything else means the bus is gone.
            self.down = error.errno != errno.ENOBUFS
        return sent

    def receive(self, limit: int = RECEIVE_MAX) -> list[bytes]:
        """Frames that have arrived, oldest first, at most `limit`."""
        frames: list[bytes] = []
        if self.down:
            return frames
        receive = self._socket.recv
        try:
            while len(frames) < limit:
                frame = receive(_READ_SIZE)
                if not frame:
                    self.down = True  # the peer has closed
                    break
                frames.append(frame)
        except BlockingIOError:
            pass
        except OSError:
            self.down = True
        return frames

    def shout(self, frames: Sequence[bytes]) -> None:
        """Try to send each frame, whatever becomes of the others; callable from any thread."""
        for frame in frames:
            try:
                self._socket.send(frame)
            except OSError:
                continue

    def reopen(self, now_ns: int) -> bool:
        """Try to bring the port up again, at most every RETRY_NS; it does not wait."""
        if not self.down:
            return True
        if now_ns < self._retry_ns or self._socket.fileno() < 0:
            return False
        self._retry_ns = now_ns + RETRY_NS
        try:
            fresh = self._connect()
        except OSError:
            return False
        with fresh:
            os.dup2(fresh.fileno(), self._socket.fileno(), inheritable=False)
        self.down = False
        return True

    def close(self) -> None:
        """Close the port."""
        self.down = True
        self._socket.close()

    def _connect(self) -> socket.socket:
        if self._interface == "unix":
            return self._connect_unix()
        return self._connect_socketcan()

    def _connect_unix(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        try:
            made.connect(self._channel)  # a local socket connects at once or not at all
        except OSError:
            made.close()
            raise
        return made

    def _connect_socketcan(self) -> socket.socket:
        made = socket.socket(socket.AF_CAN, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.CAN_RAW)
        try:
            made.setsockopt(socket.SOL_CAN_RAW, _CAN_RAW_ERR_FILTER, struct.pack("=I", _ERROR_CLASSES))
            self._filter(made)
            made.bind((self._channel,))
            # Binding to an interface that is not up succeeds; the error waits on the socket.
            pending = made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if pending:
                raise OSError(pending, os.strerror(pending))
        except OSError:
            made.close()
            raise
        return made

    def _filter(self, target: socket.socket) -> None:
        if self._interface != "socketcan" or not self._ids:
            return
        exact = STANDARD_MASK | EXTENDED_FLAG | REMOTE_FLAG
        filters = b"".join(_FILTER.pack(can_id, exact) for can_id in self._ids)
        target.setsockopt(socket.SOL_CAN_RAW, socket.CAN_RAW_FILTER, filters)

    def _explain(self, error: OSError, bitrate: int) -> str:
        name = self._channel
        found = error.strerror or str(error)
        if self._interface == "unix":
            return f"CAN socket {name}: {found}; start the program that listens there, or correct `channel`"
        up = f"ip link set {name} up type can bitrate {bitrate}"
        if error.errno == errno.ENETDOWN:
            return f"CAN interface {name} is down; bring it up: `{up}`"
        if error.errno == errno.ENODEV:
            return f"there is no CAN interface {name}; plug the adapter in (`ip link` lists them), then `{up}`"
        if error.errno == errno.EAFNOSUPPORT:
            return f"CAN interface {name}: this kernel has no SocketCAN; load its modules: `modprobe can-raw`"
        return f"CAN interface {name}: {found}; check it with `ip -details link show {name}`, then `{up}`"
