"""The observation as a server wants it: parts of the vector, each under a name, pictures made small.

Runs in the worker's interpreter: Python 3.9, numpy and the standard library, and pillow for pictures.
"""

from __future__ import annotations

from typing import Any, Mapping

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.errors import WrongShape
from runtime.policy.worker.remote.images import jpeg, resize
from runtime.policy.worker.remote.options import Part
from runtime.policy.worker.remote.packages import need


class Parts:
    """Cuts observations into the parts that the option `keys` names."""

    def __init__(self, backend: str, keys: Mapping[str, Part]) -> None:
        """Raises BackendError when a picture is to be changed and there is nothing that could."""
        self._keys = keys
        changed = any(part.size or part.quality for part in keys.values())
        self._pillow = need(backend, "PIL.Image", "pillow") if changed else None

    def of(self, observation: npt.NDArray[np.float32], pictures: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
        """By name: float32 arrays, pictures as arrays or as the bytes of a JPEG file. Raises WrongShape."""
        for name, part in self._keys.items():
            if part.picture:
                self._check(name, part, pictures)
            elif part.stop > observation.size:
                raise WrongShape(
                    f"options.keys: {name!r} takes the values {part.start} to {part.stop}, but the observation "
                    f"terms of the config give {observation.size}; both must agree"
                )
        return {
            name: self._small(part, pictures[part.picture])
            if part.picture
            else observation[part.start : part.stop]
            for name, part in self._keys.items()
        }

    def _check(self, name: str, part: Part, pictures: Mapping[str, npt.NDArray[Any]]) -> None:
        if part.picture not in pictures:
            found = ", ".join(pictures) or "none"
            raise WrongShape(f"options.keys: {name!r} takes the picture {part.picture!r}; found {found}")
        picture = pictures[part.picture]
        if (part.size or part.quality) and (picture.dtype != np.uint8 or picture.shape[2:] != (3,)):
            raise WrongShape(
                f"options.keys: {name!r} is resized or compressed, so its term needs uint8, layout hwc and three "
                f"channels; found {picture.dtype} of shape {list(picture.shape)}"
            )

    def _small(self, part: Part, picture: npt.NDArray[Any]) -> Any:
        if part.size is not None:
            picture = resize(picture, *part.size, self._pillow)
        return picture if part.quality is None else jpeg(picture, part.quality, self._pillow)
