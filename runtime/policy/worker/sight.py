"""Pictures as inputs of a model, whatever runs it: each goes to the input of its name, if type and shape agree.

Runs in the worker's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.errors import BackendError, WrongShape

Array = npt.NDArray[Any]


class Input(NamedTuple):
    """What a model says of one of its inputs."""

    type: str
    """Its numbers, in the words of what runs the model."""
    takes: Sequence[str]
    """The numpy types of pictures that may go there."""
    shape: Optional[Sequence[object]]
    """Dimensions that are no number of 0 or more are free; None when it does not say."""


class Sight:
    """The pictures that a model is shown before an inference."""

    def __init__(self, inputs: Mapping[str, Input], names: Sequence[str]) -> None:
        """`names`: of the pictures. Raises BackendError when the model has no such input."""
        for name in names:
            if name not in inputs:
                known = ", ".join(map(repr, inputs))
                raise BackendError(
                    f"the model has no input {name!r} for a picture; found {known}; correct the term's `input`"
                )
        self._inputs = inputs
        self.shown: dict[str, Array] = {}
        """By the names of the inputs, in their shapes."""

    def see(self, pictures: Mapping[str, Array]) -> None:
        """As in `Backend`. Raises BackendError or WrongShape when a picture does not fit its input."""
        for name, picture in pictures.items():
            found = self._inputs[name]
            if str(picture.dtype) not in found.takes:
                raise BackendError(
                    f"input {name!r} is a {found.type}, but the picture is {picture.dtype}; set `dtype`"
                )
            self.shown[name] = picture.reshape(_batch(name, found.shape, picture.shape))


def nothing_but_pictures(observation: npt.NDArray[np.float32]) -> None:
    """For a model that has no other input. Raises WrongShape when there is something to put into one."""
    if observation.size:
        raise WrongShape(
            f"the model has no input for the {observation.size} values of the observation, only for pictures; "
            "remove the other terms"
        )


def _batch(name: str, shape: Optional[Sequence[object]], picture: Sequence[int]) -> list[int]:
    """The shape that a picture takes for an input: a batch of one where it has that. Raises WrongShape."""
    if shape is None:
        return [1, *picture]
    wanted = [*[1] * (len(shape) - len(picture)), *picture]
    if len(wanted) == len(shape):
        free = [not isinstance(size, int) or size < 0 for size in shape]
        if all(free[axis] or shape[axis] == wanted[axis] for axis in range(len(shape))):
            return wanted
    raise WrongShape(
        f"input {name!r} of the model has shape {list(shape)}, but the picture has {list(picture)}; compare "
        "width, height, layout and colour of the term with the model"
    )
