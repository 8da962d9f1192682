"""What a model is told of the plan that it continues, when it was trained to: training-time real-time chunking.

After Black et al., "Training-Time Action Conditioning for Efficient Real-Time Chunking", 2025, arXiv 2512.05964.
Runs in the worker's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.errors import BackendError, WrongShape

Array = npt.NDArray[Any]

_WHOLE = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float)": np.float32}


class Prefix:
    """Two inputs of an ONNX model, named by the options `plan` and `delay`.

    `plan`, float32, (H, A) or (1, H, A): the first d rows are the actions that run until the chunk arrives, the
    others are zero. `delay`, one whole number: d.
    """

    def __init__(self, inputs: dict[str, Any], options: dict[str, Any]) -> None:
        """`inputs`: all inputs of the model by name. Raises BackendError, or WrongShape."""
        missing = {"plan", "delay"} - set(options)
        if missing:
            raise BackendError(
                f"found no options.{missing.pop()}; a model that continues a plan needs plan and delay"
            )
        unknown = [key for key in ("plan", "delay") if options[key] not in inputs]
        if unknown:
            key, names = unknown[0], ", ".join(repr(name) for name in inputs)
            raise BackendError(f"the model has no input {options[key]!r}; found {names}; correct options.{key}")
        plan, delay = inputs[options["plan"]], inputs[options["delay"]]
        self.names = (plan.name, delay.name)
        size = [int(options["horizon"]), int(options["action_size"])]
        if plan.type != "tensor(float)" or delay.type not in _WHOLE:
            raise BackendError(
                f"input {plan.name!r} is a {plan.type} and {delay.name!r} a {delay.type}, expected tensor(float) "
                f"and one of {', '.join(_WHOLE)}"
            )
        self._shape = _fit(plan, [1] * (len(plan.shape) - 2) + size)
        self._delay = _fit(delay, [1] * len(delay.shape))
        self._whole = _WHOLE[delay.type]

    def feeds(self, plan: Array, delay: int) -> dict[str, Array]:
        """Both inputs for a plan, float32, shape (K, A), of which the first `delay` rows run before the answer."""
        prefix = np.zeros(self._shape, np.float32)
        prefix[..., :delay, :] = plan[:delay]
        return {self.names[0]: prefix, self.names[1]: np.full(self._delay, delay, self._whole)}


def _fit(found: Any, expected: list[int]) -> list[int]:
    """`expected`, when the input can have this shape: sizes without a number are free. Raises WrongShape."""
    shape = list(found.shape)
    if len(shape) == len(expected):
        fits = [not isinstance(shape[i], int) or shape[i] == expected[i] for i in range(len(shape))]
        if all(fits):
            return expected
    raise WrongShape(
        f"input {found.name!r} of the model has shape {shape}, expected {expected}; compare the horizon and the "
        "action terms of the config with the model"
    )
