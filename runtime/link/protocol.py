"""Frames and messages of the control socket, protocol 1: pure, without a socket and without a clock.

A frame is a little-endian u32 with the length of the body, and a body that is one msgpack map
(https://github.com/msgpack/msgpack/blob/master/spec.md). docs/control-socket.md describes the messages.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack

from runtime.link.errors import FrameError

PROTOCOL = 1
"""Version of the protocol; it changes only when an old client would misunderstand a new daemon."""

MAX_FRAME = 64 * 1024
"""Longest body of any frame, bytes."""

MAX_REQUEST = 4 * 1024
"""Longest body of a request, bytes. Unpacking runs in the control loop's thread: the worst 4 KiB cost it 0.15 ms,
the worst 64 KiB would cost it 5 ms."""

HEADER = struct.Struct("<I")

_ID = "expected an integer from 0 to 2^63 - 1"

_UNPACK_ERRORS = (ValueError, TypeError, msgpack.UnpackException)


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks for."""

    id: int
    """Chosen by the client; every answer carries it. 0 to 2^63 - 1."""
    op: str
    args: dict[str, Any]
    problem: str | None = None
    """What is wrong with the request apart from its id; None when it is well formed."""


def pack(message: Any, default: Callable[[Any], Any] | None = None) -> bytes:
    """The msgpack body of a message. Raises TypeError, ValueError or OverflowError for what msgpack cannot say."""
    body: bytes = msgpack.packb(message, default=default or plain)
    return body


def unpack(body: bytes | bytearray | memoryview) -> dict[str, Any]:
    """The map in a body. Raises FrameError `malformed`."""
    try:
        message = msgpack.unpackb(body)
    except _UNPACK_ERRORS as error:
        raise FrameError("malformed", f"found a body that is not msgpack ({error}), expected one map") from error
    if not isinstance(message, dict):
        raise FrameError("malformed", f"found a body of type {type(message).__name__}, expected one map")
    return message


def frame(body: bytes) -> bytes:
    """A body with its header. Raises FrameError `oversize`."""
    if len(body) > MAX_FRAME:
        raise FrameError("oversize", f"found a message of {len(body)} bytes, expected at most {MAX_FRAME}")
    return HEADER.pack(len(body)) + body


def hello(version: str) -> bytes:
    """The frame that the server sends first."""
    return frame(pack({"reflexd": version, "protocol": PROTOCOL}))


def request(request_id: int, op: str, args: Mapping[str, Any]) -> bytes:
    """The frame of a request."""
    return frame(pack({"id": request_id, "op": op, "args": dict(args)}))


def result(request_id: int, body: bytes) -> bytes:
    """The frame of a good answer; `body` is the packed result."""
    return frame(b"\x83\xa2id" + pack(request_id) + b"\xa2ok\xc3\xa6result" + body)


def push(request_id: int, event: str, body: bytes) -> bytes:
    """The frame of something that the server tells without being asked again; `body` is the packed result."""
    return frame(b"\x83\xa2id" + pack(request_id) + b"\xa5event" + pack(event) + b"\xa6result" + body)


def error(request_id: int | None, code: str, message: str, reasons: Sequence[str] = ()) -> bytes:
    """The frame of a bad answer; without an id it is about the connection, which then closes."""
    told = {"code": code, "message": message, "reasons": list(reasons)}
    return frame(pack({"id": request_id, "ok": False, "error": told}))


def parse_request(body: bytes | bytearray | memoryview) -> Request:
    """The request in a body.

    Raises FrameError `malformed` when it is no map with a usable id: then there is no id to answer to.
    """
    message = unpack(body)
    request_id = message.get("id")
    if type(request_id) is not int or not 0 <= request_id < 1 << 63:
        raise FrameError("malformed", f"found id of type {type(request_id).__name__}, {_ID}")
    op, args = message.get("op"), message.get("args", {})
    problem = None
    if not isinstance(op, str):
        problem = f"found an op of type {type(op).__name__}, expected the name of an operation"
    elif not isinstance(args, dict):
        problem = f"found args of type {type(args).__name__}, expected a map"
    elif unknown := sorted(str(key) for key in message.keys() - {"id", "op", "args"}):
        problem = f"found unknown keys {', '.join(unknown):.80}, expected id, op and args"
    if problem is not None:
        return Request(request_id, "", {}, problem)
    return Request(request_id, op or "", args)


def plain(value: Any) -> Any:
    """What msgpack cannot pack itself, as something that it can: numpy values, paths, sets."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"found a value of type {type(value).__name__}, expected numbers, strings, lists and maps")


class Decoder:
    """Cuts a stream of bytes into the bodies of frames; holds one frame of the longest kind, never more.

    Bytes go in through `space` and `received` (no copy) or `feed`; bodies come out of `frame`. While `full`, take
    bodies out before putting bytes in.
    """

    __slots__ = ("_end", "_limit", "_start", "_view")

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._limit = limit
        self._view = memoryview(bytearray(HEADER.size + limit))
        self._start = 0
        self._end = 0

    @property
    def pending(self) -> int:
        """Bytes that have come in and not gone out."""
        return self._end - self._start

    @property
    def full(self) -> bool:
        """Whether there is no space left; then a frame waits."""
        return self.pending == len(self._view)

    @property
    def length(self) -> int | None:
        """Length of the next body, bytes, as its header claims; None before the header is complete."""
        if self.pending < HEADER.size:
            return None
        length: int = HEADER.unpack_from(self._view, self._start)[0]
        return length

    @property
    def ready(self) -> bool:
        """Whether `frame` has something to say: a whole body, or that the header is too much."""
        length = self.length
        return length is not None and (length > self._limit or self.pending >= HEADER.size + length)

    def space(self) -> memoryview:
        """Where the next bytes go; empty only while `full`."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._start and self._end == len(self._view):
            kept = self.pending
            self._view[:kept] = self._view[self._start : self._end]
            self._start, self._end = 0, kept
        return self._view[self._end :]

    def received(self, count: int) -> None:
        """`count` bytes have been put into `space`."""
        self._end += count

    def feed(self, data: bytes) -> int:
        """Take as many bytes of `data` as there is space for, and say how many."""
        space = self.space()
        count = min(len(space), len(data))
        space[:count] = data[:count]
        self._end += count
        return count

    def frame(self) -> memoryview | None:
        """The next body, valid until the next `space` or `feed`; None when none is complete.

        Raises FrameError `oversize`, again and again: the stream is of no use afterwards.
        """
        length = self.length
        if length is None:
            return None
        if length > self._limit:
            raise FrameError("oversize", f"found a frame of {length} bytes, expected at most {self._limit}")
        body = self._start + HEADER.size
        if self._end < body + length:
            return None
        self._start = body + length
        return self._view[body : body + length]
