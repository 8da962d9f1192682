"""A server that speaks LeRobot's protocol as the real one does, and misbehaves on demand.

It pickles and unpickles with the standard library, into classes that stand in for LeRobot's. The real server is in
tests/peers.
"""

from __future__ import annotations

import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.policy.worker.remote import lerobot_wire as wire

HELPERS = "lerobot.async_inference.helpers"
SIZE = 3


@dataclass
class RemotePolicyConfig:
    policy_type: str
    pretrained_name_or_path: str
    lerobot_features: dict[str, Any]
    actions_per_chunk: int
    device: str = "cpu"
    rename_map: Any = None


@dataclass
class TimedObservation:
    timestamp: float
    timestep: int
    observation: dict[str, Any]
    must_go: bool = False


@dataclass
class TimedAction:
    timestamp: float
    timestep: int
    action: Any


@contextmanager
def installed() -> Iterator[None]:
    """The classes can be imported under LeRobot's names."""
    names = ("lerobot", "lerobot.async_inference", HELPERS)
    sys.modules.update((name, types.ModuleType(name)) for name in names)
    for each in (RemotePolicyConfig, TimedObservation, TimedAction):
        each.__module__ = HELPERS
        setattr(sys.modules[HELPERS], each.__name__, each)
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


def ramp(observation: TimedObservation, horizon: int) -> list[TimedAction]:
    """Action i is [i, i, i] plus the sum of the state."""
    total = sum(value for name, value in observation.observation.items() if name.startswith("value_"))
    step = observation.timestep
    return [
        TimedAction(observation.timestamp + i, step + i, np.full(SIZE, i + total, np.float32))
        for i in range(horizon)
    ]


class LeRobotServer:
    """One server at a port of the loopback interface; start another at the same port after `close`."""

    def __init__(self, port: int = 0) -> None:
        import grpc

        self.heard: list[str] = []
        """Names of the calls, in their order."""
        self.policy: RemotePolicyConfig | None = None
        self.observations: list[TimedObservation] = []
        self.pieces: list[int] = []
        """Transfer states."""
        self.answer: Callable[[TimedObservation], bytes] = self.well
        self.load: Callable[[], None] = lambda: None
        self.hurry = threading.Event()
        """Whoever is slow on purpose waits for it: set at the end."""
        self._messages = messages = wire.Messages()
        calls = {
            "Ready": (grpc.unary_unary_rpc_method_handler, self._ready, messages.empty, messages.empty),
            "SendPolicyInstructions": (
                grpc.unary_unary_rpc_method_handler,
                self._set,
                messages.setup,
                messages.empty,
            ),
            "SendObservations": (
                grpc.stream_unary_rpc_method_handler,
                self._see,
                messages.observation,
                messages.empty,
            ),
            "GetActions": (grpc.unary_unary_rpc_method_handler, self._act, messages.empty, messages.actions),
        }
        handlers = {
            name: kind(call, request.FromString, reply.SerializeToString)
            for name, (kind, call, request, reply) in calls.items()
        }
        self._pool = ThreadPoolExecutor(4)
        # A port that is still in use by another server is an error and not shared.
        self._server = grpc.server(self._pool, options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(wire.SERVICE, handlers),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def close(self) -> None:
        """Gone at once, with calls under way."""
        self.hurry.set()
        self._server.stop(None).wait()
        self._pool.shutdown()

    def well(self, observation: TimedObservation) -> bytes:
        """What a server that is well answers."""
        assert self.policy is not None
        return pickle.dumps(ramp(observation, self.policy.actions_per_chunk))

    def slow(self, observation: TimedObservation) -> bytes:
        """The same, much too late."""
        self.hurry.wait(20.0)
        return self.well(observation)

    def _ready(self, request: Any, context: Any) -> Any:
        self.heard.append("Ready")
        return self._messages.empty()

    def _set(self, request: Any, context: Any) -> Any:
        self.heard.append("SendPolicyInstructions")
        self.load()
        self.policy = pickle.loads(request.data)
        return self._messages.empty()

    def _see(self, stream: Any, context: Any) -> Any:
        parts = list(stream)
        self.pieces = [part.transfer_state for part in parts]
        self.observations.append(pickle.loads(b"".join(part.data for part in parts)))
        return self._messages.empty()

    def _act(self, request: Any, context: Any) -> Any:
        # Whatever goes wrong in an inference, the real server answers with nothing.
        if self.policy is None:
            return self._messages.actions()
        return self._messages.actions(data=self.answer(self.observations[-1]))
