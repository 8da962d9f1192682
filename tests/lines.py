"""Lines of a GPIO chip that a test holds in its hand."""

from __future__ import annotations

import socket

from drivers.errors import LineError


class WiredInput:
    """An input line on one end of a socket pair; the test holds `wire`, the other end."""

    def __init__(self, level: bool = True) -> None:
        self._level = level
        self.chip_is_gone = False
        self.reopen()

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> bool:
        while True:
            try:
                message = self._socket.recv(16)
            except BlockingIOError:
                return self._level
            if not message:
                raise LineError("the wire is cut")
            self._level = message == b"\x01"

    def reopen(self) -> None:
        if self.chip_is_gone:
            raise LineError("there is no such chip")
        self.wire, self._socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self.closed = False

    def close(self) -> None:
        self._socket.close()
        self.wire.close()
        self.closed = True
