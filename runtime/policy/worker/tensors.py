"""Which of a model's inputs and outputs are meant, and what shape an observation takes for its input.

Runs in the worker's interpreter: Python 3.9 and the standard library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

from runtime.policy.worker.errors import BackendError, WrongShape


def pick(kind: str, found: Sequence[str], wanted: Optional[str]) -> str:
    """One of the names `found`. `kind`: the option that chooses it, such as "input". Raises BackendError."""
    if wanted is None and len(found) == 1:
        return found[0]
    if wanted is not None and wanted in found:
        return wanted
    names = ", ".join(repr(name) for name in found)
    if wanted is None:
        raise BackendError(f"the model has {len(found)} {kind}s ({names}); choose one with options.{kind}")
    raise BackendError(f"the model has no {kind} {wanted!r}; found {names}; correct options.{kind}")


def fit(name: str, shape: Sequence[object], size: int) -> list[int]:
    """The shape that an observation of `size` values takes for input `name`. Raises WrongShape.

    Dimensions that are no number of 0 or more are free: the last one takes the values, a batch is of one.
    """
    last = len(shape) - 1
    fitted = [
        found if isinstance(found, int) and found >= 0 else size if place == last else 1
        for place, found in enumerate(shape)
    ]
    if not fitted or math.prod(fitted) != size:
        raise WrongShape(
            f"input {name!r} of the model has shape {list(shape)}, but the observation terms of the config give "
            f"{size} values; both must agree"
        )
    return fitted
