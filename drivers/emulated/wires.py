"""The emulator's ends of the wires: a pty for a serial bus, a packet socket for a CAN bus."""

from __future__ import annotations

import contextlib
import os
import socket
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from drivers.emulated.errors import EmulatorError
from drivers.emulated.reactor import Reactor
from drivers.emulated.sockets import Listener

CAN_FRAME_SIZE = 16
_SERIAL_CHUNK = 4096
_FRAMES_AT_ONCE = 64  # then the other buses and the physics have their turn


class Wire(Protocol):
    """One end of a bus. Counts what went over it."""

    received: int
    sent: int
    unsent: int
    """Replies that the other side did not take."""

    @property
    def connected(self) -> bool:
        """Whether somebody is known to be at the other end."""

    def send(self, data: bytes) -> None:
        """Send at once; what the other side does not take is lost, as on a wire."""

    def close(self) -> None:
        """Close and remove what was made in the file system."""


class PtyWire:
    """The motors' end of a pseudo terminal; the host opens the symbolic link `path` as a serial port."""

    def __init__(self, reactor: Reactor, path: Path, receive: Callable[[bytes], None]) -> None:
        self.received = self.sent = self.unsent = 0
        self._reactor = reactor
        self._receive = receive
        self._path = path
        if path.exists() and not path.is_symlink():
            raise EmulatorError(f"{path} exists and is not a symbolic link; remove it or choose another path")
        # The slave stays open here: otherwise the master would see an error whenever the host closes it.
        self._master, self._slave = os.openpty()
        try:
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self._terminal = os.ttyname(self._slave)
            path.unlink(missing_ok=True)
            path.symlink_to(self._terminal)
        except OSError as error:
            os.close(self._master)
            os.close(self._slave)
            raise EmulatorError(
                f"cannot make the serial port {path}: {error.strerror}; the folder must exist and be writable"
            ) from error
        reactor.watch(self._master, self._readable)

    @property
    def connected(self) -> bool:
        """A terminal does not tell; true."""
        return True

    def send(self, data: bytes) -> None:
        """Send at once; what does not fit into the terminal's buffer is lost."""
        try:
            taken = os.write(self._master, data)
        except OSError:
            taken = 0
        if taken == len(data):
            self.sent += 1
        else:
            self.unsent += 1

    def close(self) -> None:
        """Close the terminal and remove the link."""
        self._reactor.forget(self._master)
        os.close(self._master)
        os.close(self._slave)
        with contextlib.suppress(OSError):
            if os.readlink(self._path) == self._terminal:
                self._path.unlink()

    def _readable(self) -> None:
        try:
            data = os.read(self._master, _SERIAL_CHUNK)
        except OSError:
            return
        if data:
            self.received += 1
            self._receive(data)


class CanWire:
    """The motors' end of a CAN bus: a SOCK_SEQPACKET listener, one client at a time, 16-byte frames."""

    def __init__(self, reactor: Reactor, path: Path, receive: Callable[[bytes], None]) -> None:
        self.received = self.sent = self.unsent = 0
        self._reactor = reactor
        self._receive = receive
        self._client: socket.socket | None = None
        self._listener = Listener(path, socket.SOCK_SEQPACKET)
        reactor.watch(self._listener, self._accept)

    @property
    def connected(self) -> bool:
        """Whether a client is there."""
        return self._client is not None

    def send(self, data: bytes) -> None:
        """Send one frame; without a client it is lost."""
        if self._client is None:
            return
        try:
            self._client.send(data)
        except BlockingIOError:
            self.unsent += 1
        except OSError:
            self._drop()
        else:
            self.sent += 1

    def close(self) -> None:
        """Close the client and the listener."""
        self._drop()
        self._reactor.forget(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        client = self._listener.accept()
        if client is None:
            return
        self._drop()
        self._client = client
        self._reactor.watch(client, self._readable)

    def _drop(self) -> None:
        if self._client is not None:
            self._reactor.forget(self._client)
            self._client.close()
            self._client = None

    def _readable(self) -> None:
        for _ in range(_FRAMES_AT_ONCE):
            if self._client is None:
                return
            try:
                frame = self._client.recv(CAN_FRAME_SIZE + 1)
            except BlockingIOError:
                return
            except OSError:
                frame = b""
            if not frame:
                self._drop()
                return
            if len(frame) == CAN_FRAME_SIZE:
                self.received += 1
                self._receive(frame)
