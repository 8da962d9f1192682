"""Load one model, answer one request at a time.

Runs in the worker's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

import math
import os
import select
import socket
import sys
import time
import traceback
from typing import Any

import numpy as np

from runtime.policy.worker import wire
from runtime.policy.worker.backends import abilities, load, normalise, uncertainty
from runtime.policy.worker.curve import Curve
from runtime.policy.worker.errors import Unavailable, WrongShape, words
from runtime.policy.worker.memory import SharedMemory

# Between two tries to warm up a backend that is not there yet.
_RETRY_S = 1.0


class Server:
    """A loaded model."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Raises BackendError, or what the backend raises."""
        start_ns = time.monotonic_ns()
        self._memory = SharedMemory(settings["memory"])
        os.close(settings["memory"])
        self._curve = Curve(**settings["curve"]) if settings["curve"] else None
        self._latency_ns = int(settings["latency_s"] * 1e9)
        options = {**settings["options"], **settings["given"]}
        self._backend = load(settings["backend"], settings["model"], options)
        self._can = abilities(self._backend)
        if self._can & wire.Can.TASK:
            self._backend.set_task(settings["task"])
        self._load_ns = time.monotonic_ns() - start_ns
        self._name = f"backend {settings['backend']}, Python {sys.version.split()[0]}, numpy {np.__version__}"

    def serve(self, channel: socket.socket) -> None:
        """Warm up, then answer requests until the daemon closes its end. Raises what the warm-up raises."""
        try:
            while not self._warm_up(channel):
                # The daemon says nothing before the hello that it waits for: there is something when it has gone.
                if select.select([channel], [], [], _RETRY_S)[0]:
                    return
            while True:
                message = channel.recv(wire.MESSAGE_MAX)
                if not message:
                    return
                order = wire.parse_order(message)
                if isinstance(order, wire.Request):
                    channel.send(self._answer(order).pack())
                elif self._can & wire.Can.TASK:
                    self._backend.set_task(order.prompt)
        except (BrokenPipeError, ConnectionResetError):
            return

    def _warm_up(self, channel: socket.socket) -> bool:
        """The first inference is many times slower than the others: the robot should not wait for it."""
        start_ns = time.monotonic_ns()
        status, text = wire.OK, self._name
        try:
            self._infer(np.zeros_like(self._memory.observation), wire.Request(0, 0))
        except Unavailable as error:
            status, text = wire.UNAVAILABLE, words(error)
        # A server may only now have said what it can do.
        self._can = abilities(self._backend)
        hello = wire.Hello(status, self._load_ns, time.monotonic_ns() - start_ns, self._can, text)
        channel.send(hello.pack())
        return status == wire.OK

    def _infer(self, observation: np.ndarray[Any, np.dtype[np.float32]], request: wire.Request) -> None:
        chunk = self._memory.chunk
        if request.known and self._can & wire.Can.CONTINUE:
            plan = self._memory.plan[: request.known].copy()
            output = self._backend.continue_plan(observation, plan, request.delay)
        else:
            output = self._backend.infer(observation)
        chunk[:] = normalise(output, *chunk.shape)
        if self._curve is not None:
            self._memory.curve[:] = self._curve.through(chunk)

    def _answer(self, request: wire.Request) -> wire.Reply:
        start_ns = time.monotonic_ns()
        status, text, unsure = wire.OK, "", math.nan
        try:
            # A copy: a backend may keep it, and the daemon writes the next one into the same place.
            self._infer(self._memory.observation.copy(), request)
            unsure = uncertainty(self._backend)
        except Unavailable as error:
            status, text = wire.UNAVAILABLE, words(error)
        except Exception as error:
            traceback.print_exc()
            status = wire.WRONG_SHAPE if isinstance(error, WrongShape) else wire.ERROR
            text = words(error)
        remaining_ns = start_ns + self._latency_ns - time.monotonic_ns()
        if remaining_ns > 0 and status == wire.OK:
            time.sleep(remaining_ns / 1e9)
        done_ns = time.monotonic_ns()
        infer_ns = done_ns - start_ns
        horizon, size = self._memory.chunk.shape
        return wire.Reply(status, request.sequence, request.t0_ns, infer_ns, done_ns, horizon, size, text, unsure)
