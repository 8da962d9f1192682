"""Load one model, answer one request at a time.

Runs in the worker's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from typing import Any

import numpy as np

from runtime.policy.worker import wire
from runtime.policy.worker.backends import load, normalise
from runtime.policy.worker.errors import WrongShape, words
from runtime.policy.worker.memory import SharedMemory


class Server:
    """A loaded and warmed-up model."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Raises BackendError, or what the backend raises."""
        start_ns = time.monotonic_ns()
        self._memory = SharedMemory(settings["memory"])
        os.close(settings["memory"])
        self._latency_ns = int(settings["latency_s"] * 1e9)
        options = {**settings["options"], "threads": settings["threads"]}
        self._backend = load(settings["backend"], settings["model"], options)
        loaded_ns = time.monotonic_ns()
        # The first inference is many times slower than the others: the robot should not wait for it.
        self._infer(np.zeros_like(self._memory.observation))
        self._hello = wire.Hello(
            wire.OK,
            loaded_ns - start_ns,
            time.monotonic_ns() - loaded_ns,
            f"backend {settings['backend']}, Python {sys.version.split()[0]}, numpy {np.__version__}",
        )

    def serve(self, channel: socket.socket) -> None:
        """Answer requests until the daemon closes its end."""
        try:
            channel.send(self._hello.pack())
            while True:
                request = channel.recv(wire.REQUEST.size)
                if not request:
                    return
                channel.send(self._answer(*wire.REQUEST.unpack(request)).pack())
        except (BrokenPipeError, ConnectionResetError):
            return

    def _infer(self, observation: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        chunk = self._memory.chunk
        chunk[:] = normalise(self._backend.infer(observation), *chunk.shape)

    def _answer(self, sequence: int, t0_ns: int) -> wire.Reply:
        start_ns = time.monotonic_ns()
        status, text = wire.OK, ""
        try:
            # A copy: a backend may keep it, and the daemon writes the next one into the same place.
            self._infer(self._memory.observation.copy())
        except Exception as error:
            traceback.print_exc()
            status = wire.WRONG_SHAPE if isinstance(error, WrongShape) else wire.ERROR
            text = words(error)
        remaining_ns = start_ns + self._latency_ns - time.monotonic_ns()
        if remaining_ns > 0:
            time.sleep(remaining_ns / 1e9)
        done_ns = time.monotonic_ns()
        horizon, action_size = self._memory.chunk.shape
        return wire.Reply(status, sequence, t0_ns, done_ns - start_ns, done_ns, horizon, action_size, text)
