"""The emulated GPIO chip: input lines that a test can press, output lines that fall when their holder dies.

One SOCK_SEQPACKET connection per requested line. The client's first message is the JSON object
`{"line": NAME, "direction": "in" | "out"}`. The chip answers with the line's level, one byte 0 or 1, or with
the JSON object `{"error": TEXT}` and closes. Then an input's level is sent at every change, and the client of
an output sends the level that it wants. A closed connection releases the line: an output falls to 0.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from drivers.emulated.reactor import Reactor
from drivers.emulated.sockets import Listener

_LEVELS = (b"\x00", b"\x01")
_MESSAGE_MAX = 1024
_MESSAGES_AT_ONCE = 64


class GpioChip:
    """The chip. `inputs`: names and first levels; `outputs`: names and who is told at every change."""

    def __init__(
        self,
        reactor: Reactor,
        path: Path,
        inputs: dict[str, bool],
        outputs: Mapping[str, Callable[[bool], None]],
    ) -> None:
        self._reactor = reactor
        self._inputs = dict(inputs)
        self._outputs = outputs
        self._levels = dict.fromkeys(outputs, False)
        self._readers: dict[socket.socket, str] = {}
        self._holders: dict[str, socket.socket] = {}
        self._pending: set[socket.socket] = set()
        self._listener = Listener(path, socket.SOCK_SEQPACKET)
        reactor.watch(self._listener, self._accept)

    def level(self, name: str) -> bool:
        """Level of a line."""
        return self._inputs[name] if name in self._inputs else self._levels[name]

    def set_input(self, name: str, level: bool) -> None:
        """Change the level of an input; everybody who reads it is told."""
        if self._inputs[name] == level:
            return
        self._inputs[name] = level
        for client in [client for client, line in self._readers.items() if line == name]:
            self._tell(client, _LEVELS[level])

    def close(self) -> None:
        """Release all lines and close."""
        for client in [*self._pending, *self._readers, *self._holders.values()]:
            self._release(client)
        self._reactor.forget(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        client = self._listener.accept()
        if client is not None:
            self._pending.add(client)
            self._reactor.watch(client, partial(self._readable, client))

    def _readable(self, client: socket.socket) -> None:
        for _ in range(_MESSAGES_AT_ONCE):
            try:
                message = client.recv(_MESSAGE_MAX)
            except BlockingIOError:
                return
            except OSError:
                message = b""
            if not message:
                self._release(client)
                return
            if client in self._pending:
                self._request(client, message)
            else:
                self._level(client, message)
            if client.fileno() < 0:
                return

    def _request(self, client: socket.socket, message: bytes) -> None:
        self._pending.discard(client)
        try:
            request = json.loads(message)
            name, direction = str(request["line"]), request["direction"]
        except (ValueError, KeyError, TypeError):
            self._refuse(client, 'expected {"line": NAME, "direction": "in" or "out"}')
            return
        if direction == "in" and name in self._inputs:
            self._readers[client] = name
            self._tell(client, _LEVELS[self._inputs[name]])
        elif direction == "out" and name in self._outputs:
            if name in self._holders:
                self._refuse(client, f"output {name} is held by another client")
                return
            self._holders[name] = client
            self._tell(client, _LEVELS[self._levels[name]])
        else:
            self._refuse(
                client,
                f"no line {name!r} in direction {direction!r}; inputs: {', '.join(self._inputs)}; "
                f"outputs: {', '.join(self._outputs)}",
            )

    def _level(self, client: socket.socket, message: bytes) -> None:
        name = next((name for name, holder in self._holders.items() if holder is client), None)
        if name is None or message not in _LEVELS:
            self._refuse(client, "expected one byte, 0 or 1, for an output, and nothing for an input")
            return
        self._drive(name, message == _LEVELS[1])

    def _drive(self, name: str, level: bool) -> None:
        if self._levels[name] != level:
            self._levels[name] = level
            self._outputs[name](level)

    def _tell(self, client: socket.socket, message: bytes) -> None:
        try:
            client.send(message)
        except OSError:
            # A reader that does not keep up sees its line go: it must be safe then.
            self._release(client)

    def _refuse(self, client: socket.socket, text: str) -> None:
        self._tell(client, json.dumps({"error": text}).encode())
        self._release(client)

    def _release(self, client: socket.socket) -> None:
        if client.fileno() < 0:
            return
        self._reactor.forget(client)
        client.close()
        self._pending.discard(client)
        self._readers.pop(client, None)
        for name, holder in list(self._holders.items()):
            if holder is client:
                del self._holders[name]
                self._drive(name, False)
