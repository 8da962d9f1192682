"""Policy backends: how a model is found, loaded and called, and what its output must look like.

Runs in the worker's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable, Protocol

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.errors import BackendError, WrongShape
from runtime.policy.worker.wire import Can

GROUP = "reflexd.policies"

BUILT_IN = {
    "flow": "runtime.policy.worker.flow:FlowBackend",
    "onnx": "runtime.policy.worker.onnx:OnnxBackend",
    "replay": "runtime.policy.worker.replay:ReplayBackend",
    "tensorrt": "runtime.policy.worker.tensorrt:TensorRtBackend",
    "torch_export": "runtime.policy.worker.torch_models:TorchExportBackend",
    "torchscript": "runtime.policy.worker.torch_models:TorchScriptBackend",
}
"""Backends of the house. Their classes have two more members, for `reflexd check`: `MODEL`, what the model's file
is ("" where none is needed), and `OPTIONS`, a `Rule` for each option. Importing them needs no package: only their
constructors do."""

REMOTE = {
    "lerobot": "runtime.policy.worker.remote.lerobot:LeRobotBackend",
    "openpi": "runtime.policy.worker.remote.openpi:OpenpiBackend",
    "triton": "runtime.policy.worker.remote.triton:TritonBackend",
}
"""Those whose model is on another computer; `reflexd check` reads their options with `remote.options`."""

GIVEN = ("threads", "timeout", "period", "horizon", "action_size")
"""Options that every backend is given beside the config's: threads for one inference, the longest time for one
(s), time between two actions (s), H and A."""


class Backend(Protocol):
    """A loaded model. It may have more methods. Two make it able to do more, unless they are None after the first
    inference:

    `continue_plan(observation, plan, delay)` answers like `infer`, with a chunk that continues `plan`, float32,
    shape (K, A), K <= H: row i is what runs at the moment of action i if nothing new comes, in the policy's own
    numbers. The first `delay` rows are expected to have run when the answer arrives.

    `set_task(prompt)` says what to do from the next inference on; called once before the first.

    `close()` lets go of what it holds, where the process goes on without it.

    An attribute `uncertainty` says after each inference how unsure the policy is of its answer: a number in its
    own unit, such as the spread of several samples, None when it cannot tell. It is recorded with the chunk.
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


def uncertainty(backend: Backend) -> float:
    """How unsure it is of its last answer; NaN where it does not say. Raises what makes no number."""
    told = getattr(backend, "uncertainty", None)
    return math.nan if told is None else float(told)


@dataclass(frozen=True)
class Rule:
    """What the value of an option may be."""

    expected: str
    good: Callable[[Any], bool]


ANY = Rule("any value", lambda value: True)
TEXT = Rule("text", lambda value: isinstance(value, str))
COUNT = Rule("0 or more", lambda value: type(value) is int and value >= 0)
SWITCH = Rule("true or false", lambda value: isinstance(value, bool))


def wrong_options(options: Mapping[str, Any], rules: Mapping[str, Rule]) -> dict[str, str]:
    """By name, what is wrong with each of the config's options that has no rule, or breaks it."""
    *most, last = sorted(rules) or ["none"]
    known = f"{', '.join(most)} or {last}" if most else last
    wrong = {name: f"found an unknown option, expected {known}" for name in options if name not in rules}
    for name, rule in rules.items():
        if name in options and not rule.good(options[name]):
            wrong[name] = f"found {json.dumps(options[name], default=str)}, expected {rule.expected}"
    return wrong


def check_options(name: str, options: Mapping[str, Any], *known: str, **rules: Rule) -> None:
    """Raises BackendError for options that backend `name` does not know, or that break their rule.

    `known`: options that have none.
    """
    own = {option: value for option, value in options.items() if option not in GIVEN}
    wrong = wrong_options(own, {**dict.fromkeys(known, ANY), **rules})
    if wrong:
        texts = [f"options.{option}: {text}" for option, text in sorted(wrong.items())]
        raise BackendError(f"backend {name}: {'; '.join(texts)}")


def load(name: str, model: str, options: dict[str, Any]) -> Any:
    """The `Backend` called `name` with its model loaded. Raises BackendError, or what the backend raises."""
    backend: Backend = _find(name)(model, options)
    if not callable(getattr(backend, "infer", None)):
        raise BackendError(
            f"backend {name}: found no method `infer` on {type(backend).__name__}, expected infer(observation)"
        )
    return backend


def built_in(name: str) -> Any:
    """The class of one of `BUILT_IN` or `REMOTE`."""
    module, _, class_name = {**BUILT_IN, **REMOTE}[name].partition(":")
    return getattr(importlib.import_module(module), class_name)


def _find(name: str) -> Any:
    if name in BUILT_IN or name in REMOTE:
        return built_in(name)
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
            f"backend {name!r} is unknown in {sys.executable}: found there {found} under {GROUP}, expected one of "
            f'those, of {", ".join([*BUILT_IN, *REMOTE])}, or "module:Class"'
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
