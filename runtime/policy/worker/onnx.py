"""ONNX Runtime on the CPU, or on an NVIDIA GPU through its CUDA or TensorRT provider.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library and onnxruntime.
"""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Mapping, Optional

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.backends import TEXT, check_options
from runtime.policy.worker.errors import BackendError
from runtime.policy.worker.prefix import Prefix
from runtime.policy.worker.session import OPTIONS, open_session, sight
from runtime.policy.worker.sight import nothing_but_pictures
from runtime.policy.worker.tensors import fit, pick


class OnnxBackend:
    """A model with one float32 input; `input` and `output` choose where it has more than one. Pictures go to
    inputs of their own, by their names; a model that sees may do without the other.

    `plan` and `delay` name two more inputs of a model that was trained to continue a plan, see `prefix`.
    `uncertainty` names an output that says how unsure the model is, such as the spread of its heads.
    """

    MODEL = "an ONNX file"
    OPTIONS: ClassVar = {
        "input": TEXT,
        "output": TEXT,
        "uncertainty": TEXT,
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
        self._inputs = inputs
        self._sight = sight(self._session, options)
        self._input = self._vector(options)
        self.uncertainty: Optional[float] = None
        """As in `Backend`: the mean of that output."""
        unsure = [pick("uncertainty", outputs, options["uncertainty"])] if "uncertainty" in options else []
        outputs = [name for name in outputs if name not in unsure]
        self._outputs = [pick("output", outputs, options.get("output")), *unsure]

    def see(self, pictures: Mapping[str, npt.NDArray[Any]]) -> None:
        """As in `Backend`. Raises BackendError or WrongShape when a picture does not fit its input."""
        self._sight.see(pictures)

    def infer(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Run the model. Raises WrongShape when the observation does not fit its input."""
        return self._run(observation, np.empty((0, 1), np.float32), 0)

    def _run(
        self, observation: npt.NDArray[np.float32], plan: npt.NDArray[np.float32], delay: int
    ) -> npt.NDArray[Any]:
        feeds = dict(self._sight.shown)
        if self._input:
            shape = list(self._inputs[self._input].shape)
            feeds[self._input] = observation.reshape(fit(self._input, shape, observation.size))
        else:
            nothing_but_pictures(observation)
        if self._prefix is not None:
            feeds.update(self._prefix.feeds(plan, delay))
        output: npt.NDArray[Any]
        output, *unsure = self._session.run(self._outputs, feeds)
        self.uncertainty = float(unsure[0].mean()) if unsure else None
        return output

    def _vector(self, options: dict[str, Any]) -> str:
        """The input for the vector, to which no picture and no plan goes; "" for none. Raises BackendError."""
        pictures = options.get("pictures", ())
        taken = {*pictures, *(self._prefix.names if self._prefix is not None else ())}
        others = [name for name in self._inputs if name not in taken]
        if pictures and not others:
            return ""
        chosen = self._inputs[pick("input", others, options.get("input"))]
        if chosen.type != "tensor(float)":
            raise BackendError(
                f"input {chosen.name!r} is a {chosen.type}, expected tensor(float); export it as float32"
            )
        return str(chosen.name)
