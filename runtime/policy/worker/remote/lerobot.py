"""LeRobot's asynchronous policy server, over gRPC.

The server loads the policy that it is told, keeps one observation, and answers with the actions for it. They are
numbered from the observation's timestep on, so that every answer says what it answers.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library, grpcio and protobuf.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy.typing as npt

from runtime.policy.worker.errors import BackendError, Unavailable
from runtime.policy.worker.remote import lerobot_wire as wire
from runtime.policy.worker.remote.backend import RemoteBackend
from runtime.policy.worker.remote.base import last_line
from runtime.policy.worker.remote.options import RemoteOptions, read
from runtime.policy.worker.remote.packages import need
from runtime.policy.worker.remote.pickles import MAX_BYTES, Refused

# The server may have to fetch the policy before it can load it.
_LOAD_S = 600.0
_CHANNEL = (
    ("grpc.max_receive_message_length", MAX_BYTES),
    ("grpc.enable_http_proxy", 0),
    # Or a new channel would wait for what the one before it had failed at.
    ("grpc.use_local_subchannel_pool", 1),
)


class LeRobotPeer:
    """The client of `transport.AsyncInference`."""

    def __init__(self, options: RemoteOptions, policy: bytes) -> None:
        """`policy`: what the server shall load, as `lerobot_wire.policy` writes it. Raises BackendError."""
        self._grpc = need("lerobot", "grpc", "grpcio")
        self._messages = wire.Messages()
        self._options = options
        self._policy = self._messages.setup(data=policy)
        self._empty = self._messages.empty()
        self._channel: Any = None
        self._calls: dict[str, Any] = {}
        self._loaded = False
        """The server has our policy, unless it was started again since."""
        self._timestep = 0
        self.continues = False

    def connect(self, timeout_s: float) -> None:
        """Have the server forget earlier observations, and load the policy where it may not have it."""
        self._open()
        try:
            self._calls["Ready"](self._empty, timeout=timeout_s)
            if not self._loaded:
                self._calls["SendPolicyInstructions"](self._policy, timeout=_LOAD_S)
                self._loaded = True
        except self._grpc.RpcError as error:
            if error.code() is self._grpc.StatusCode.UNKNOWN:
                raise BackendError(
                    f"{self._options.url}: the server cannot load the policy: {last_line(error.details() or '')}; "
                    "correct options.policy, type or device"
                ) from None
            raise self._failed(error) from None

    def alive(self) -> bool:
        """Whether the connection stands: gRPC tells when it is asked, and connects again by itself."""
        return True

    def ask(self, request: dict[str, Any], timeout_s: float) -> npt.NDArray[Any]:
        """The chunk for the parts of an observation and the prompt. Raises TimeoutError."""
        until = time.monotonic() + timeout_s
        self._timestep += 1
        prompt = request.pop(self._options.prompt, "")
        observation = wire.observation(request, prompt, self._timestep, time.time())
        parts = (
            self._messages.observation(transfer_state=state, data=data) for state, data in wire.pieces(observation)
        )
        try:
            self._calls["SendObservations"](parts, timeout=timeout_s)
            answer = self._calls["GetActions"](self._empty, timeout=max(0.0, until - time.monotonic()))
        except self._grpc.RpcError as error:
            raise self._failed(error) from None
        if not answer.data:
            # It had our observation: the inference failed, or this is another server, without our policy.
            self._loaded = False
            raise Unavailable(f"{self._options.url}: the server had no actions; its log says why")
        try:
            return wire.actions(answer.data, self._timestep)
        except Refused as error:
            raise Unavailable(f"{self._options.url}: {error}") from None

    def close(self) -> None:
        """Cut the connection."""
        if self._channel is not None:
            self._channel.close()

    def _open(self) -> None:
        grpc, options, messages = self._grpc, self._options, self._messages
        if options.encrypted:
            credentials = grpc.ssl_channel_credentials(Path(options.ca).read_bytes() if options.ca else None)
            channel = grpc.secure_channel(options.address, credentials, _CHANNEL)
        else:
            channel = grpc.insecure_channel(options.address, _CHANNEL)
        kinds = {
            "Ready": (channel.unary_unary, messages.empty, messages.empty),
            "SendPolicyInstructions": (channel.unary_unary, messages.setup, messages.empty),
            "SendObservations": (channel.stream_unary, messages.observation, messages.empty),
            "GetActions": (channel.unary_unary, messages.empty, messages.actions),
        }
        self._calls = {
            name: kind(f"/{wire.SERVICE}/{name}", request.SerializeToString, reply.FromString)
            for name, (kind, request, reply) in kinds.items()
        }
        self._channel = channel

    def _failed(self, error: Any) -> Exception:
        code, codes = error.code(), self._grpc.StatusCode
        if code in (codes.DEADLINE_EXCEEDED, codes.CANCELLED):
            return TimeoutError()
        self._loaded = False
        return Unavailable(f"{self._options.url}: {code.name.lower()}: {last_line(error.details() or '')}")


class LeRobotBackend(RemoteBackend):
    """A policy on LeRobot's policy server.

    Options: those of `RemoteOptions`, and what the server shall load: `policy`, a folder there or a name on its
    hub, its `type`, and the `device`.
    """

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        checked = read("lerobot", options)
        policy = wire.policy(
            options["type"], options["policy"], options["device"], options["horizon"], checked.keys
        )
        super().__init__("lerobot", checked, LeRobotPeer(checked, policy))
