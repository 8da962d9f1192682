"""The action chunks of a recording, in their order, as if a policy had thought of them now.

Runs in the worker's interpreter: numpy, the standard library from Python 3.11 on, and mcap.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.backends import Rule, check_options
from runtime.policy.worker.errors import BackendError, Unavailable, WrongShape

_SAME_RATE = 1e-6


class ReplayBackend:
    """Gives each recorded chunk once; then it has no answer any more."""

    MODEL = "a recording (MCAP)"
    OPTIONS: ClassVar[dict[str, Rule]] = {}

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        check_options("replay", options, **self.OPTIONS)
        if not os.path.isfile(model):
            raise BackendError(f"no model file at {model!r}; expected the path of a recording of reflexd")
        rate, self._chunks = _read(model)
        if not self._chunks:
            raise BackendError(
                f"{model}: found no action chunk, expected a recording of a robot that its policy moved"
            )
        if abs(rate * options["period"] - 1) > _SAME_RATE:
            raise BackendError(
                f"{model}: found chunks of {rate:g} actions a second, expected policy.rate "
                f"({1 / options['period']:g} Hz): the motion would have another speed; set policy.rate to {rate:g}"
            )
        expected = (options["horizon"], options["action_size"])
        for number, chunk in enumerate(self._chunks):
            if chunk.shape != expected:
                raise WrongShape(
                    f"{model}: found chunk {number} of shape {list(chunk.shape)}, expected {list(expected)} "
                    "(policy.horizon, values in an action); take both from the recorded config"
                )
        self._model = model
        self._next = -1
        """The next chunk; below 0 before the warm-up, which takes none."""

    def infer(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """The next chunk, whatever the observation. Raises Unavailable when there is none left."""
        if self._next == len(self._chunks):
            raise Unavailable(f"{self._model}: the recording has ended, all {self._next} chunks were played")
        chunk = self._chunks[max(self._next, 0)]
        self._next += 1
        return chunk


def _read(path: str) -> tuple[float, list[npt.NDArray[np.float64]]]:
    """The rate of the actions (Hz) and all chunks, each of shape (H, A). Raises BackendError."""
    try:
        import tomllib

        from mcap.exceptions import McapError
        from mcap.reader import make_reader
    except ImportError as error:
        raise BackendError(
            f"{sys.executable} (Python {sys.version.split()[0]}) cannot read recordings ({error}); leave "
            "policy.python out: reflexd's own interpreter can"
        ) from error
    chunks: list[list[list[float]]] = []
    try:
        with open(path, "rb") as file:
            reader = make_reader(file)
            about = {found.name: found.metadata for found in reader.iter_metadata()}
            config = tomllib.loads(about["reflexd"]["config"])
            rate = float(config["policy"]["rate"])
            # In the order of the file: parts of a long chunk have all the same time.
            for _, _, message in reader.iter_messages(topics=["/chunks"], log_time_order=False):
                said: dict[str, Any] = json.loads(message.data)
                if said["first"] == 0:
                    chunks.append([])
                chunks[-1] += said["actions"]
            return rate, [np.array(chunk, np.float64) for chunk in chunks]
    except (McapError, KeyError, IndexError, ValueError, TypeError) as error:
        raise BackendError(
            f"{path}: found no whole recording of reflexd ({type(error).__name__}: {error}), expected an MCAP "
            "file with chunks and the robot's config; `mcap recover` repairs one that was cut off"
        ) from error
