"""The control channel of the emulated robot: JSON lines over a Unix stream socket, for tests and the demo."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from drivers.emulated.reactor import Reactor
from drivers.emulated.sockets import Listener

LINE_MAX = 65536


class ControlServer:
    """Answers every request line with one reply line: `{"ok": true, ...}` or `{"ok": false, "error": TEXT}`.

    `handle` gets the request and returns the reply's facts; a ValueError, LookupError, TypeError or OSError
    that it raises becomes the error's text.
    """

    def __init__(self, reactor: Reactor, path: Path, handle: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        self._reactor = reactor
        self._handle = handle
        self._clients: dict[socket.socket, bytearray] = {}
        self._listener = Listener(path, socket.SOCK_STREAM)
        reactor.watch(self._listener, self._accept)

    def close(self) -> None:
        """Drop all clients and close."""
        for client in list(self._clients):
            self._drop(client)
        self._reactor.forget(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        client = self._listener.accept()
        if client is not None:
            self._clients[client] = bytearray()
            self._reactor.watch(client, partial(self._readable, client))

    def _readable(self, client: socket.socket) -> None:
        try:
            data = client.recv(LINE_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        waiting = self._clients[client]
        waiting += data
        while (end := waiting.find(b"\n")) >= 0:
            line = bytes(waiting[:end])
            del waiting[: end + 1]
            if not self._answer(client, line):
                return
        if len(waiting) > LINE_MAX:
            self._drop(client)

    def _answer(self, client: socket.socket, line: bytes) -> bool:
        reply = json.dumps(self._reply(line)).encode() + b"\n"
        try:
            whole = client.send(reply) == len(reply)
        except OSError:
            whole = False
        if not whole:  # a client that does not read its replies
            self._drop(client)
        return whole

    def _reply(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            if not isinstance(request, dict):
                raise ValueError('expected a JSON object such as {"op": "state"}')
            return {"ok": True, **self._handle(request)}
        except (ValueError, LookupError, TypeError, OSError, RecursionError) as error:
            text = error.args[0] if isinstance(error, KeyError) and error.args else error
            return {"ok": False, "error": f"{text}"}

    def _drop(self, client: socket.socket) -> None:
        if self._clients.pop(client, None) is not None:
            self._reactor.forget(client)
            client.close()
