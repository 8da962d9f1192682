"""NVIDIA Triton Inference Server over gRPC.

What inputs and outputs the model has is asked at each connection and must agree with the config. A model that has
the inputs `plan` and `delay` can continue a plan; without one, neither is sent, so both have to be optional.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library and tritonclient.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.errors import BackendError, Unavailable, WrongShape
from runtime.policy.worker.remote.backend import DELAY, PLAN, RemoteBackend
from runtime.policy.worker.remote.base import harmless
from runtime.policy.worker.remote.options import RemoteOptions, read
from runtime.policy.worker.remote.packages import need

_CHANNEL = (
    # HTTP/2 pings while a question is under way: they are answered by the server's gRPC, not by its model.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A chunk of 1000 actions of 100 joints is 0.8 MB.
    ("grpc.max_receive_message_length", 16 * 2**20),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    # Or a new channel would wait for what the one before it had failed at.
    ("grpc.use_local_subchannel_pool", 1),
)
# Of inputs: vectors and the plan are floats, pictures UINT8 or BYTES, prompts BYTES, the delay INT32.
_TYPES: dict[str, Any] = {
    "FP16": np.float16,
    "FP32": np.float32,
    "FP64": np.float64,
    "UINT8": np.uint8,
    "INT32": np.int32,
    "BYTES": np.object_,
}


class TritonPeer:
    """One model on a Triton server."""

    def __init__(self, options: RemoteOptions, model: str, version: str) -> None:
        """Raises BackendError when the package is missing."""
        self.continues = False
        self._triton = need("triton", "tritonclient.grpc", "tritonclient[grpc]")
        self._exception = need("triton", "tritonclient.utils", "tritonclient[grpc]").InferenceServerException
        self._options = options
        self._model = model
        self._version = version
        self._client: Any = None
        self._inputs: dict[str, Any] = {}
        self._actions = ""

    def connect(self, timeout_s: float) -> None:
        """Ask for the model's inputs and outputs. Raises BackendError where they do not fit the config."""
        options = self._options
        self._client = self._triton.InferenceServerClient(
            options.address,
            ssl=options.encrypted,
            root_certificates=options.ca or None,
            channel_args=list(_CHANNEL),
        )
        with self._in_our_words():
            found = self._client.get_model_metadata(self._model, self._version, client_timeout=timeout_s)
        self._inputs = {each.name: each for each in found.inputs}
        self.continues = PLAN in self._inputs and DELAY in self._inputs
        self._actions = self._agree([each.name for each in found.outputs])

    def alive(self) -> bool:
        """Whether it stands: gRPC tells when it is asked, and connects again by itself."""
        return True

    def ask(self, request: Any, timeout_s: float) -> npt.NDArray[Any]:
        """The actions for the map `request`. Raises TimeoutError."""
        inputs = [self._input(name, value) for name, value in request.items()]
        with self._in_our_words():
            result = self._client.infer(
                self._model,
                inputs,
                self._version,
                [self._triton.InferRequestedOutput(self._actions)],
                client_timeout=timeout_s,
            )
        actions: npt.NDArray[Any] = result.as_numpy(self._actions)
        return actions

    def close(self) -> None:
        """Close the channel; a call under way is cancelled."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()

    def _agree(self, outputs: Sequence[str]) -> str:
        """The name of the output with the actions. Raises BackendError where server and config do not agree."""
        options, problems = self._options, []
        given = {*options.keys, *([options.prompt] if options.prompt else [])}
        needed = set(self._inputs) - ({PLAN, DELAY} if self.continues else set())
        if given != needed:
            problems.append(
                f"found the inputs {_names(needed)}, expected {_names(given)} as in options.keys and prompt"
            )
        for name in given & needed:
            if self._inputs[name].datatype not in _TYPES:
                found = harmless(self._inputs[name].datatype)
                problems.append(f"input {name!r} is {found}, expected one of {_names(_TYPES)}")
        actions = options.actions or (outputs[0] if len(outputs) == 1 else "")
        if actions not in outputs:
            problems.append(f"found the outputs {_names(outputs)}, expected one of them in options.actions")
        if problems:
            raise BackendError(f"{options.url}, model {self._model!r}: {'; '.join(problems)}")
        return actions

    def _input(self, name: str, value: Any) -> Any:
        declared = self._inputs[name]
        if isinstance(value, str):
            value = value.encode()
        value = np.asarray(value, np.object_ if isinstance(value, bytes) else None)
        dtype = np.dtype(_TYPES[declared.datatype])
        # Anything could be cast to an object.
        if (value.dtype.kind == "O") != (dtype.kind == "O") or not np.can_cast(value.dtype, dtype, "same_kind"):
            raise WrongShape(f"input {name!r} of the model is {declared.datatype}, but it is given {value.dtype}")
        # Dimensions without a number are free: they are the value's own, counted from the last, or 1.
        wanted = list(declared.shape)
        own = [*[1] * len(wanted), *value.shape][-len(wanted) :]
        shape = [own[place] if found < 0 else found for place, found in enumerate(wanted)]
        if np.prod(shape) != value.size:
            raise WrongShape(
                f"input {name!r} of the model has shape {wanted}, but it is given {list(value.shape)}; compare "
                "options.keys with the model"
            )
        made = self._triton.InferInput(name, shape, declared.datatype)
        made.set_data_from_numpy(value.astype(dtype).reshape(shape))
        return made

    @contextlib.contextmanager
    def _in_our_words(self) -> Iterator[None]:
        """Raises TimeoutError, BackendError for a question that the server finds wrong, otherwise Unavailable."""
        try:
            yield
        except self._exception as error:
            text = f"{self._options.url}, model {self._model!r}: {harmless(str(error))}"
            if "DEADLINE_EXCEEDED" in str(error.status()):
                raise TimeoutError(text) from None
            if "INVALID_ARGUMENT" in str(error.status()):
                raise BackendError(text) from None
            raise Unavailable(text) from None


class TritonBackend(RemoteBackend):
    """A model on a Triton server; options: those of `RemoteOptions`, `model`, and `version` where it matters."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        checked = read("triton", options)
        super().__init__("triton", checked, TritonPeer(checked, options["model"], options.get("version", "")))


def _names(names: Iterable[str]) -> str:
    return harmless(", ".join(repr(name) for name in sorted(names)) or "none")
