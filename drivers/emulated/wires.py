"""The emulator's ends of the wires: a pty or a serial adapter; a packet socket or a CAN interface."""

from __future__ import annotations

import contextlib
import os
import socket
import tty
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from drivers.emulated.errors import EmulatorError
from drivers.emulated.reactor import Reactor
from drivers.emulated.sockets import Listener
from drivers.errors import PortError
from drivers.ports.can import SocketPort
from drivers.ports.serial import SerialPort

CAN_FRAME_SIZE = 16
_SERIAL_CHUNK = 4096
_FRAMES_AT_ONCE = 64  # then the other buses and the physics have their turn
_UNPLUGGED = -1


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

    def plug(self, plugged: bool) -> None:
        """Pull the wire's plug, or put it back. Raises EmulatorError."""

    def close(self) -> None:
        """Close and remove what was made in the file system."""


class PtyWire:
    """The motors' end of a pseudo terminal; the host opens the symbolic link `path` as a serial port.

    Unplugged, the terminal and the link are gone, as an adapter's device and its stable name are; plugged in
    again, the link leads to a new terminal.
    """

    def __init__(self, reactor: Reactor, path: Path, receive: Callable[[bytes], None]) -> None:
        self.received = self.sent = self.unsent = 0
        self._reactor = reactor
        self._receive = receive
        self._path = path
        if path.exists() and not path.is_symlink():
            raise EmulatorError(f"{path} exists and is not a symbolic link; remove it or choose another path")
        self._master = self._slave = _UNPLUGGED
        self._open()

    @property
    def connected(self) -> bool:
        """Whether it is plugged in; a terminal does not tell more."""
        return self._master != _UNPLUGGED

    def send(self, data: bytes) -> None:
        """Send at once; what does not fit into the terminal's buffer is lost."""
        if not self.connected:
            return
        try:
            taken = os.write(self._master, data)
        except OSError:
            taken = 0
        if taken == len(data):
            self.sent += 1
        else:
            self.unsent += 1

    def plug(self, plugged: bool) -> None:
        """Make a new terminal, or take it away. Raises EmulatorError."""
        if plugged and not self.connected:
            self._open()
        elif not plugged:
            self.close()

    def close(self) -> None:
        """Close the terminal and remove the link; twice does no harm."""
        if not self.connected:
            return
        self._reactor.forget(self._master)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = _UNPLUGGED
        with contextlib.suppress(OSError):
            if os.readlink(self._path) == self._terminal:
                self._path.unlink()

    def _open(self) -> None:
        # The slave stays open here: otherwise the master would see an error whenever the host closes it.
        try:
            master, slave = os.openpty()
        except OSError as error:
            raise EmulatorError(
                f"cannot make a pseudo terminal for the serial port {self._path}: {error.strerror}; "
                "/dev/ptmx and /dev/pts must be there for this user"
            ) from error
        try:
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._terminal = os.ttyname(slave)
            self._path.unlink(missing_ok=True)
            self._path.symlink_to(self._terminal)
        except OSError as error:
            os.close(master)
            os.close(slave)
            raise EmulatorError(
                f"cannot make the serial port {self._path}: {error.strerror}; "
                "the folder must exist and be writable"
            ) from error
        self._master, self._slave = master, slave
        self._reactor.watch(master, self._readable)

    def _readable(self) -> None:
        try:
            data = os.read(self._master, _SERIAL_CHUNK)
        except OSError:
            return
        if data:
            self.received += 1
            self._receive(data)


class CableWire:
    """The motors at the end of a real serial cable, whose other end another computer has.

    The adapter must not hear what it sends itself.
    """

    def __init__(self, reactor: Reactor, path: str, baud: int, receive: Callable[[bytes], None]) -> None:
        """Open the adapter. Raises EmulatorError."""
        self.received = self.sent = self.unsent = 0
        self._reactor = reactor
        self._receive = receive
        try:
            self._port = SerialPort(path, baud)
        except PortError as error:
            raise EmulatorError(str(error)) from error
        reactor.watch(self._port, self._readable)

    @property
    def connected(self) -> bool:
        """Whether the adapter is still there."""
        return self._port.fileno() >= 0

    def send(self, data: bytes) -> None:
        """Send at once; what the adapter does not take is lost."""
        if self.connected and self._port.write(data):
            self.sent += 1
        else:
            self.unsent += 1

    def plug(self, plugged: bool) -> None:
        """Raises EmulatorError: the cable is pulled by hand."""
        raise EmulatorError("a real cable is pulled by hand")

    def close(self) -> None:
        """Close the adapter; twice does no harm."""
        if self.connected:
            self._reactor.forget(self._port)
            self._port.close()

    def _readable(self) -> None:
        if data := self._port.read():
            self.received += 1
            self._receive(data)
        else:
            self.close()  # the adapter is gone: it would be readable for ever


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

    def plug(self, plugged: bool) -> None:
        """Raises EmulatorError: a socket has no plug."""
        raise EmulatorError("a CAN socket cannot be unplugged; use a serial bus or a real interface")

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


class SocketCanWire:
    """The motors on a real CAN interface of this computer, for example `vcan0`, as nodes beside all others.

    While the interface is down or gone the motors hear and say nothing; they are back by themselves. The kernel's
    filter stands for the one in a motor's controller: a babbling bus costs a motor nothing.
    """

    def __init__(
        self, reactor: Reactor, channel: str, ids: Iterable[int], receive: Callable[[bytes], None]
    ) -> None:
        """Join the bus. `ids`: what the motors listen to. Raises EmulatorError."""
        self.received = self.sent = self.unsent = 0
        self._reactor = reactor
        self._receive = receive
        try:
            self._port = SocketPort("socketcan", channel)
        except PortError as error:
            raise EmulatorError(str(error)) from error
        self._port.listen_to(ids)
        self._watched = True
        reactor.watch(self._port, self._readable)

    @property
    def connected(self) -> bool:
        """Whether the interface is up."""
        return not self._port.down

    def send(self, data: bytes) -> None:
        """Send one frame; what the interface does not take is lost."""
        if self._port.send((data,)):
            self.sent += 1
        else:
            self.unsent += 1

    def step(self, now_ns: int) -> None:
        """Come back to an interface that is up again."""
        if self._port.down:
            self._watch(False)  # a dead socket is readable for ever
            self._watch(self._port.reopen(now_ns))

    def plug(self, plugged: bool) -> None:
        """Raises EmulatorError: the interface itself is taken down and up with `ip link`."""
        raise EmulatorError("a real interface is taken down and up with `ip link set`")

    def close(self) -> None:
        """Leave the bus."""
        self._watch(False)
        self._port.close()

    def _watch(self, wanted: bool) -> None:
        if wanted != self._watched:
            self._watched = wanted
            if wanted:
                self._reactor.watch(self._port, self._readable)
            else:
                self._reactor.forget(self._port)

    def _readable(self) -> None:
        for frame in self._port.receive(_FRAMES_AT_ONCE):
            if len(frame) == CAN_FRAME_SIZE:
                self.received += 1
                self._receive(frame)
