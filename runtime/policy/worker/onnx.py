"""ONNX Runtime on the CPU.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library and onnxruntime.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.backends import check_options
from runtime.policy.worker.errors import BackendError, WrongShape


class OnnxBackend:
    """A model with one float32 input; options: `input` and `output` where it has more than one output."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise BackendError(
                f"{sys.executable} cannot import onnxruntime ({error}); install it there (for reflexd's own "
                "interpreter: the extra reflexd[onnx]) or name another interpreter in policy.python"
            ) from error
        check_options("onnx", options, "input", "output")
        if not os.path.isfile(model):
            raise BackendError(f"no model file at {model!r}; expected the path of an ONNX file")
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = int(options["threads"])
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # Spinning makes the next inference faster, and takes a core from the control loop in between.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BackendError(f"ONNX Runtime {onnxruntime.__version__} cannot load {model}: {error}") from error
        inputs = {found.name: found for found in self._session.get_inputs()}
        outputs = [found.name for found in self._session.get_outputs()]
        chosen = inputs[_pick("input", list(inputs), options.get("input"))]
        if chosen.type != "tensor(float)":
            raise BackendError(
                f"input {chosen.name!r} is a {chosen.type}, expected tensor(float); export it as float32"
            )
        self._input = chosen.name
        self._shape = list(chosen.shape)
        self._outputs = [_pick("output", outputs, options.get("output"))]

    def infer(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Run the model. Raises WrongShape when the observation does not fit its input."""
        # Dimensions without a number are free: the last one takes the values, a batch is of one.
        last = len(self._shape) - 1
        shape = [
            found if isinstance(found, int) else observation.size if place == last else 1
            for place, found in enumerate(self._shape)
        ]
        if not shape or np.prod(shape) != observation.size:
            raise WrongShape(
                f"input {self._input!r} of the model has shape {self._shape}, but the observation terms of the "
                f"config give {observation.size} values; both must agree"
            )
        output: npt.NDArray[Any] = self._session.run(self._outputs, {self._input: observation.reshape(shape)})[0]
        return output


def _pick(kind: str, found: list[str], wanted: str | None) -> str:
    if wanted is None and len(found) == 1:
        return found[0]
    if wanted is not None and wanted in found:
        return wanted
    names = ", ".join(repr(name) for name in found)
    if wanted is None:
        raise BackendError(f"the model has {len(found)} {kind}s ({names}); choose one with options.{kind}")
    raise BackendError(f"the model has no {kind} {wanted!r}; found {names}; correct options.{kind}")
