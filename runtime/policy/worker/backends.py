"""Policy backends: how a model is found, loaded and called, and what its output must look like.

Runs in the worker's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.errors import BackendError, WrongShape
from runtime.policy.worker.wire import Can

GROUP = "reflexd.policies"


GIVEN = ("threads", "timeout", "period", "horizon", "action_size")
"""Options that every backend is given beside the config's: threads for one inference, the longest time for one
(s), time between two actions (s), H and A."""


class Backend(Protocol):
    """A loaded model. It may have two more methods, which make it able to do more:

    `continue_plan(observation, plan, delay)` answers like `infer`, with a chunk that continues `plan`, float32,
    shape (K, A), K <= H: row i is what runs at the moment of action i if nothing new comes, in the policy's own
    numbers. The first `delay` rows are expected to have run when the answer arrives.

    `set_task(prompt)` says what to do from the next inference on; called once before the first.
    """

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        """Load `model`, a path or "". `options` are the config's and those of `GIVEN`."""

    def infer(self, observation: npt.NDArray[np.float32]) -> npt.ArrayLike:
        """Actions for an observation, shape (N,): (H, A), (1, H, A), or with H = 1 also (A,).

        Raises Unavailable when there is no answer this time, and the next call may have one.
        """


def abilities(backend: Backend) -> Can:
    """What it can do besides `infer`."""
    methods = {"continue_plan": Can.CONTINUE, "set_task": Can.TASK}
    return Can(sum(can for name, can in methods.items() if callable(getattr(backend, name, None))))


def check_options(name: str, options: dict[str, Any], *known: str) -> None:
    """Raises BackendError for options that backend `name` does not know."""
    unknown = sorted(set(options) - {*GIVEN, *known})
    if unknown:
        raise BackendError(f"backend {name}: found options {', '.join(unknown)}, expected {' or '.join(known)}")


def load(name: str, model: str, options: dict[str, Any]) -> Any:
    """The `Backend` called `name` with its model loaded. Raises BackendError, or what the backend raises."""
    backend: Backend = _find(name)(model, options)
    if not callable(getattr(backend, "infer", None)):
        raise BackendError(
            f"backend {name}: found no method `infer` on {type(backend).__name__}, expected infer(observation)"
        )
    return backend


def _find(name: str) -> Any:
    if name == "onnx":
        from runtime.policy.worker.onnx import OnnxBackend

        return OnnxBackend
    if ":" in name:
        module_name, _, class_name = name.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            raise BackendError(
                f"backend {name}: no module {error.name!r} in {sys.executable}; install it there, "
                "put it beside the config or add its folder to PYTHONPATH"
            ) from error
        if not hasattr(module, class_name):
            raise BackendError(f"backend {name}: module {module_name} has no {class_name!r}")
        return getattr(module, class_name)
    offered = _offered()
    if name not in offered:
        found = ", ".join(sorted(offered)) or "none"
        raise BackendError(
            f"backend {name!r} is unknown in {sys.executable}: found there {found} under {GROUP}, expected "
            '"onnx", "module:Class" or one of those'
        )
    return offered[name].load()


def _offered() -> dict[str, Any]:
    points: Any = importlib.metadata.entry_points()
    # Python 3.9 answers with a dict of lists, newer ones with something that selects.
    group = points.select(group=GROUP) if hasattr(points, "select") else points.get(GROUP, ())
    return {point.name: point for point in group}


def normalise(output: npt.ArrayLike, horizon: int, action_size: int) -> npt.NDArray[np.float32]:
    """`output` as float32, shape (H, A). Raises WrongShape."""
    found = np.asarray(output)
    if found.dtype.kind not in "fiu":
        raise WrongShape(f"found output of type {found.dtype}, expected numbers, float32")
    expected = (horizon, action_size)
    if found.shape not in (expected, (1, *expected)) and not (horizon == 1 and found.shape == (action_size,)):
        raise WrongShape(
            f"found output of shape {list(found.shape)}, expected {list(expected)} (actions in a chunk, "
            "values in an action); compare the horizon and the action terms of the config with the model"
        )
    with np.errstate(over="ignore"):
        return found.reshape(expected).astype(np.float32)
