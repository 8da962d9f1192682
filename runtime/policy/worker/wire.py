"""What daemon and worker say to each other over their socket: small messages, no clock, no I/O.

Runs in the worker's interpreter: Python 3.9, standard library only.
"""

from __future__ import annotations

import math
import struct
from enum import IntFlag
from typing import NamedTuple

HELLO = 1
REPLY = 2
REQUEST = 3
TASK = 4

OK = 0
ERROR = 1
WRONG_SHAPE = 2
UNAVAILABLE = 3
"""No chunk this time, and nothing is wrong with the worker. As a hello: another one follows once there is."""


class Can(IntFlag):
    """What a backend can do besides `infer`, see `runtime.policy.worker.backends`."""

    CONTINUE = 1
    TASK = 2


# The longest message; error texts are cut to fit.
MESSAGE_MAX = 8192

_REQUEST = struct.Struct("<BxxxxxxxqqII")
_HELLO = struct.Struct("<BBBxxxxxqq")
_REPLY = struct.Struct("<BBBxxxxxqqqqIId")
_FRAME = struct.Struct("<qq")


def _encode(text: str, room: int) -> bytes:
    return text.encode("utf-8", "replace")[:room]


class Request(NamedTuple):
    """Ask for a chunk; the observation lies in the shared memory, with the plan that the chunk continues."""

    sequence: int
    t0_ns: int
    """CLOCK_MONOTONIC time that action 0 is meant for, ns."""
    known: int = 0
    """Rows of the plan (K), at most H; row i is what runs at the moment of action i if nothing new comes. 0: there
    is none, or nobody wants it continued."""
    delay: int = 0
    """So many of them (d) are expected to have run when the answer arrives, at most K."""

    def pack(self) -> bytes:
        """The message as bytes."""
        return _REQUEST.pack(REQUEST, self.sequence, self.t0_ns, self.known, self.delay)


class Task(NamedTuple):
    """What the policy has to do from the next request on."""

    prompt: str

    def pack(self) -> bytes:
        """The message as bytes, its text cut to fit."""
        return bytes([TASK]) + _encode(self.prompt, MESSAGE_MAX - 1)


class Hello(NamedTuple):
    """The worker's first message: it serves, or it says why not."""

    status: int
    load_ns: int
    """Time to import and load, ns."""
    warm_ns: int
    """Time of the first inference, on zeros, ns."""
    can: int
    """`Can` bits."""
    text: str
    """What was loaded, or what is wrong."""

    def pack(self) -> bytes:
        """The message as bytes, its text cut to fit."""
        head = _HELLO.pack(HELLO, self.status, self.can, self.load_ns, self.warm_ns)
        return head + _encode(self.text, MESSAGE_MAX - len(head))


class Reply(NamedTuple):
    """The answer to one request; the chunk itself lies in the shared memory."""

    status: int
    sequence: int
    t0_ns: int
    infer_ns: int
    """Time of the inference with the injected latency, ns."""
    done_ns: int
    """CLOCK_MONOTONIC time of its end, ns."""
    horizon: int
    action_size: int
    text: str = ""
    """What went wrong, when something did."""
    uncertainty: float = math.nan
    """How unsure the policy is of the chunk, in its own unit; NaN where it does not say."""
    frames: tuple[tuple[int, int], ...] = ()
    """Number and capture time (CLOCK_MONOTONIC, ns) of the frame that was shown of each camera, in the order of
    the settings."""

    def pack(self) -> bytes:
        """The message as bytes, its text cut to fit."""
        head = _REPLY.pack(
            REPLY,
            self.status,
            len(self.frames),
            self.sequence,
            self.t0_ns,
            self.infer_ns,
            self.done_ns,
            self.horizon,
            self.action_size,
            self.uncertainty,
        ) + b"".join(_FRAME.pack(*frame) for frame in self.frames)
        return head + _encode(self.text, MESSAGE_MAX - len(head))


def parse_order(message: bytes) -> Request | Task:
    """The daemon's message in `message`. Raises ValueError when it is none."""
    kind = message[0] if message else 0
    if kind == REQUEST and len(message) == _REQUEST.size:
        return Request(*_REQUEST.unpack(message)[1:])
    if kind == TASK:
        return Task(message[1:].decode("utf-8", "replace"))
    raise ValueError(f"found a message of {len(message)} bytes and kind {kind}, expected {REQUEST} or {TASK}")


def parse(message: bytes) -> Hello | Reply:
    """The worker's message in `message`. Raises ValueError when it is none."""
    kind = message[0] if message else 0
    if kind == REPLY and len(message) >= _REPLY.size:
        _, status, count, sequence, t0_ns, infer_ns, done_ns, horizon, size, unsure = _REPLY.unpack_from(message)
        end = _REPLY.size + count * _FRAME.size
        if len(message) >= end:
            frames = tuple(_FRAME.iter_unpack(message[_REPLY.size : end])) if count else ()
            text = message[end:].decode("utf-8", "replace") if len(message) > end else ""
            return Reply(status, sequence, t0_ns, infer_ns, done_ns, horizon, size, text, unsure, frames)
    if kind == HELLO and len(message) >= _HELLO.size:
        _, status, can, load_ns, warm_ns = _HELLO.unpack_from(message)
        return Hello(status, load_ns, warm_ns, can, message[_HELLO.size :].decode("utf-8", "replace"))
    raise ValueError(f"found a message of {len(message)} bytes and kind {kind}, expected 1 or 2")
