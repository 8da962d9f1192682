"""ONNX Runtime on the CPU, or on an NVIDIA GPU through its CUDA or TensorRT provider.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library and onnxruntime.
"""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Optional

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.backends import TEXT, check_options
from runtime.policy.worker.errors import BackendError
from runtime.policy.worker.prefix import Prefix
from runtime.policy.worker.session import OPTIONS, open_session
from runtime.policy.worker.tensors import fit, pick


class OnnxBackend:
    """A model with one float32 input; `input` and `output` choose where it has more than one.

    `plan` and `delay` name two more inputs of a model that was trained to continue a plan, see `prefix`.
    """

    MODEL = "an ONNX file"
    OPTIONS: ClassVar = {
        "input": TEXT,
        "output": TEXT,
        "plan": TEXT,
        "delay": TEXT,
        **OPTIONS,
    }

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        check_options("onnx", options, **self.OPTIONS)
        self._session = open_session(model, options)
        inputs = {found.name: found for found in self._session.get_inputs()}
        outputs = [found.name for found in self._session.get_outputs()]
        self._prefix = Prefix(inputs, options) if "plan" in options or "delay" in options else None
        self.continue_plan: Optional[Callable[..., npt.NDArray[Any]]] = self._run if self._prefix else None
        """As in `Backend`; None where the model has no inputs for it."""
        others = [name for name in inputs if self._prefix is None or name not in self._prefix.names]
        chosen = inputs[pick("input", others, options.get("input"))]
        if chosen.type != "tensor(float)":
            raise BackendError(
                f"input {chosen.name!r} is a {chosen.type}, expected tensor(float); export it as float32"
            )
        self._input = chosen.name
        self._shape = list(chosen.shape)
        self._outputs = [pick("output", outputs, options.get("output"))]

    def infer(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Run the model. Raises WrongShape when the observation does not fit its input."""
        return self._run(observation, np.empty((0, 1), np.float32), 0)

    def _run(
        self, observation: npt.NDArray[np.float32], plan: npt.NDArray[np.float32], delay: int
    ) -> npt.NDArray[Any]:
        feeds = {self._input: observation.reshape(fit(self._input, self._shape, observation.size))}
        if self._prefix is not None:
            feeds.update(self._prefix.feeds(plan, delay))
        output: npt.NDArray[Any] = self._session.run(self._outputs, feeds)[0]
        return output
