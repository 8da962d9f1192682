"""openpi's policy server and its bad twins, in a thread: the real websockets server, the wire format written anew.

Like the real one it has a single loop, which an inference blocks: while it thinks, it answers no pings.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
from websockets.asyncio.server import ServerConnection, serve

HORIZON, SIZE = 4, 3


def array(values: Any, dtype: str = "<f4", shape: list[int] | None = None) -> dict[bytes, Any]:
    """An array as openpi writes it; `dtype` and `shape` may lie."""
    data = values if isinstance(values, bytes) else np.asarray(values, dtype).tobytes()
    return {
        b"__ndarray__": True,
        b"data": data,
        b"dtype": dtype,
        b"shape": list(np.shape(values)) if shape is None else shape,
    }


def found(value: Any) -> Any:
    """The object hook of the server's side."""
    if b"__ndarray__" in value:
        return np.ndarray(buffer=value[b"data"], dtype=value[b"dtype"], shape=value[b"shape"])
    return value


class OpenpiServer:
    """Action i is [i, i, i] plus the sum of "state", until `answer` is set to something else."""

    def __init__(self, port: int = 0, metadata: Any = None, tls: ssl.SSLContext | None = None) -> None:
        self.port = port
        self.metadata = {} if metadata is None else metadata
        self.answer: Callable[[ServerConnection, dict[str, Any]], Any] = lambda connection, request: ramp(request)
        """Returns the reply, a map or bytes; or None when it has dealt with it itself. May block, may await."""
        self.greet = True
        self.requests: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.connections = 0
        self.open: set[ServerConnection] = set()
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    @property
    def url(self) -> str:
        return f"{'wss' if self._tls else 'ws'}://localhost:{self.port}"

    def cut(self) -> None:
        """Every connection dies without a word."""

        def cut() -> None:
            for connection in self.open:
                connection.transport.abort()

        self._loop.call_soon_threadsafe(cut)

    def close(self) -> None:
        """As a process that is killed: connections die, nobody listens any more."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(20)

    def __enter__(self) -> OpenpiServer:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._end = asyncio.Event()
        async with serve(
            self._handle,
            "127.0.0.1",
            self.port,
            compression=None,
            max_size=None,
            ssl=self._tls,
            ping_interval=None,
            process_request=self._health,
        ) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._ready.set()
            await self._end.wait()
            for connection in self.open:
                connection.transport.abort()

    def _health(self, connection: ServerConnection, request: Any) -> Any:
        if request.path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        self.headers.append(request.headers)
        return None

    async def _handle(self, connection: ServerConnection) -> None:
        self.connections += 1
        self.open.add(connection)
        try:
            if self.greet:
                await connection.send(msgpack.packb(self.metadata))
            async for message in connection:
                request = msgpack.unpackb(message, object_hook=found)
                self.requests.append(request)
                reply = self.answer(connection, request)
                if asyncio.iscoroutine(reply):
                    reply = await reply
                if reply is not None:
                    await connection.send(msgpack.packb(reply) if isinstance(reply, dict) else reply)
        except Exception:
            with contextlib.suppress(Exception):
                await connection.close(1011, "Internal server error")
        finally:
            self.open.discard(connection)


def ramp(request: dict[str, Any]) -> dict[str, Any]:
    actions = np.arange(HORIZON)[:, None] + np.full((HORIZON, SIZE), request["state"].sum())
    return {"actions": array(actions), "server_timing": {"infer_ms": 1.5}}


def thinks(seconds: float) -> Callable[[ServerConnection, dict[str, Any]], Any]:
    """Blocks the server's loop, as an inference does."""

    def answer(connection: ServerConnection, request: dict[str, Any]) -> Any:
        time.sleep(seconds)
        return ramp(request)

    return answer


async def fails(connection: ServerConnection, request: dict[str, Any]) -> None:
    """As the real server when the policy raises: the traceback as a text, then 1011."""
    await connection.send(
        "Traceback (most recent call last):\n  File \"policy.py\"\nKeyError: 'observation/state'\n"
    )
    await connection.close(1011, "Internal server error. Traceback included in previous frame.")


async def half(connection: ServerConnection, request: dict[str, Any]) -> None:
    """The first half of a message, and then nothing."""
    data = msgpack.packb(ramp(request))
    connection.transport.write(bytes([0x82, 126]) + len(data).to_bytes(2, "big") + data[: len(data) // 2])


async def half_and_gone(connection: ServerConnection, request: dict[str, Any]) -> None:
    """The first half of a message, and then the end."""
    await half(connection, request)
    await asyncio.sleep(0.05)
    connection.transport.abort()


async def twice(connection: ServerConnection, request: dict[str, Any]) -> None:
    for _ in range(2):
        await connection.send(msgpack.packb(ramp(request)))


def silent(connection: ServerConnection, request: dict[str, Any]) -> None:
    """Takes the question and says nothing."""
