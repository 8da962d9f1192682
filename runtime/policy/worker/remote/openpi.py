"""openpi's policy server: one msgpack map each way over a websocket.

The server says something of itself first, then answers one observation after the other, without numbering them. An
error is a text frame with a traceback, after which it closes. While it thinks, it does not answer pings.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library, msgpack and websockets.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from typing import Any

from runtime.policy.worker.errors import BackendError, Unavailable
from runtime.policy.worker.remote import msgpack_arrays
from runtime.policy.worker.remote.backend import RemoteBackend
from runtime.policy.worker.remote.base import harmless, last_line
from runtime.policy.worker.remote.key import api_key
from runtime.policy.worker.remote.options import RemoteOptions, read
from runtime.policy.worker.remote.packages import need

# A chunk of 1000 actions of 100 joints is 0.8 MB; some servers send more than actions.
_ANSWER_MAX = 16 * 2**20
# So that whatever lies between does not forget an idle connection. Nobody waits for the answer.
_PING_S = 20.0
# A link that is dead while nothing is asked is found by TCP: probes after 10 s, given up 15 s later.
_TCP = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 25_000),
)
# What a server says of itself when it can continue a plan.
_CONTINUES = "continue_plan"


class OpenpiPeer:
    """A websocket to a server that speaks openpi's protocol."""

    def __init__(self, options: RemoteOptions) -> None:
        """Raises BackendError when a package is missing, or the key would be readable on the wire."""
        self._websockets = need("openpi", "websockets.sync.client", "websockets (15 or newer)")
        self._msgpack = need("openpi", "msgpack", "msgpack")
        self._options = options
        try:
            self._tls = ssl.create_default_context(cafile=options.ca or None) if options.encrypted else None
        except OSError as error:
            raise BackendError(f"options.ca: {options.ca} cannot be read as a PEM file: {error}") from error
        self._headers = _headers(options)
        self._connection: Any = None
        self.continues = False

    def connect(self, timeout_s: float) -> None:
        """Reach the server and hear what it says of itself."""
        options, until = self._options, time.monotonic() + timeout_s
        sock = socket.create_connection((options.host, options.port), timeout_s)
        try:
            for option in _TCP:
                sock.setsockopt(*option)
            sock.settimeout(None)
            # As a context, which every release knows; it is left by `close` and by the connection's own thread.
            self._connection = self._websockets.connect(
                options.url,
                sock=sock,
                ssl=self._tls,
                additional_headers=self._headers,
                # An answer that unfolds in memory would be a way to harm; openpi's are not compressed.
                compression=None,
                open_timeout=max(0.0, until - time.monotonic()),
                ping_interval=_PING_S,
                ping_timeout=None,
                close_timeout=0.0,
                max_size=_ANSWER_MAX,
                proxy=None,
            ).__enter__()
        except BaseException:
            sock.close()
            raise
        self.continues = self._receive(until - time.monotonic()).get(_CONTINUES) is True

    def alive(self) -> bool:
        """Whether the websocket is open."""
        return bool(self._connection.state.name == "OPEN")

    def ask(self, request: Any, timeout_s: float) -> Any:
        """The actions for the map `request`. Raises TimeoutError."""
        with contextlib.suppress(TimeoutError):
            self._connection.recv(timeout=0)
            raise Unavailable(f"{self._options.url}: it sent an answer that nobody had asked for")
        # Without a task the server does what it was started for.
        request = {name: value for name, value in request.items() if not isinstance(value, str) or value}
        self._connection.send(msgpack_arrays.pack(request, self._msgpack.packb))
        answer = self._receive(timeout_s)
        if self._options.actions not in answer:
            found = ", ".join(repr(name) for name in answer) or "nothing"
            raise BackendError(f"{self._options.url}: found {harmless(found)}, expected {self._options.actions!r}")
        return answer[self._options.actions]

    def close(self) -> None:
        """Cut the connection: the close handshake would wait for a server that is away."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.socket.shutdown(socket.SHUT_RDWR)

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        message = self._connection.recv(timeout=timeout_s)
        if isinstance(message, str):
            raise Unavailable(f"{self._options.url}: the server failed: {last_line(message)}")
        return msgpack_arrays.unpack(message, self._msgpack.unpackb)


class OpenpiBackend(RemoteBackend):
    """A policy on an openpi server; options: those of `RemoteOptions`."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        checked = read("openpi", options)
        super().__init__("openpi", checked, OpenpiPeer(checked))


def _headers(options: RemoteOptions) -> dict[str, str]:
    key = api_key()
    if not key:
        return {}
    if not options.encrypted and options.host not in ("localhost", "127.0.0.1", "::1"):
        raise BackendError(
            f"options.url: found {options.url} and a key, expected wss://: on the way anybody could read the key"
        )
    return {"Authorization": f"Api-Key {key}"}
