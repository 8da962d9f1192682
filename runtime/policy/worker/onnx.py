"""ONNX Runtime on the CPU, or on an NVIDIA GPU through its CUDA or TensorRT provider.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library and onnxruntime.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.backends import TEXT, check_options
from runtime.policy.worker.errors import BackendError
from runtime.policy.worker.session import OPTIONS, open_session
from runtime.policy.worker.tensors import fit, pick


class OnnxBackend:
    """A model with one float32 input; `input` and `output` choose where it has more than one."""

    MODEL = "an ONNX file"
    OPTIONS: ClassVar = {
        "input": TEXT,
        "output": TEXT,
        **OPTIONS,
    }

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        check_options("onnx", options, **self.OPTIONS)
        self._session = open_session(model, options)
        inputs = {found.name: found for found in self._session.get_inputs()}
        outputs = [found.name for found in self._session.get_outputs()]
        chosen = inputs[pick("input", list(inputs), options.get("input"))]
        if chosen.type != "tensor(float)":
            raise BackendError(
                f"input {chosen.name!r} is a {chosen.type}, expected tensor(float); export it as float32"
            )
        self._input = chosen.name
        self._shape = list(chosen.shape)
        self._outputs = [pick("output", outputs, options.get("output"))]

    def infer(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Run the model. Raises WrongShape when the observation does not fit its input."""
        shape = fit(self._input, self._shape, observation.size)
        output: npt.NDArray[Any] = self._session.run(self._outputs, {self._input: observation.reshape(shape)})[0]
        return output
