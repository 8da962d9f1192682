"""What a policy sees through cameras: the newest frames at the moment of the request, in its size and its numbers.

Runs in the worker's interpreter: Python 3.9, numpy and the standard library only, and pillow for other sizes.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Mapping, NamedTuple, Sequence

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.errors import BackendError, Unavailable
from runtime.policy.worker.frames import FrameReader, Pixels

Picture = npt.NDArray[Any]
# Rec. 601, as ITU-T T.871 (JPEG) has it.
_LUMA = np.array([0.299, 0.587, 0.114])


class PictureTerm(NamedTuple):
    """How a model wants to see one camera."""

    camera: str
    input: str
    """The model's name for it."""
    width: int
    height: int
    layout: str
    """"hwc" or "chw"."""
    colour: str
    """"rgb", "bgr" or "gray": 3, 3 or 1 channels."""
    dtype: str
    """"uint8", or "float32": (raw - offset) * scale."""
    offset: Sequence[float]
    scale: Sequence[float]
    """For each channel."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the array that the model gets."""
        channels = 1 if self.colour == "gray" else 3
        size = (self.height, self.width)
        return (channels, *size) if self.layout == "chw" else (*size, channels)

    def picture(self, pixels: Pixels) -> Picture:
        """A frame, R, G, B, shape (h, w, 3), as the model wants it."""
        found: Picture = pixels
        if pixels.shape[:2] != (self.height, self.width):
            image = _pillow()
            resized = image.fromarray(pixels).resize((self.width, self.height), resample=image.Resampling.BILINEAR)
            found = np.array(resized)  # a copy: torch wants memory that it could write to
        if self.colour == "bgr":
            found = found[:, :, ::-1]
        elif self.colour == "gray":
            found = np.rint(found @ _LUMA)[:, :, None].astype(np.uint8)
        if self.dtype == "float32":
            offset, scale = np.array(self.offset, np.float32), np.array(self.scale, np.float32)
            found = (found.astype(np.float32) - offset) * scale
        if self.layout == "chw":
            found = found.transpose(2, 0, 1)
        return np.ascontiguousarray(found)


class AgeTerm(NamedTuple):
    """A value of the observation that is the age of a camera's frame: (age in s - offset) * scale."""

    camera: str
    place: int
    """In the vector."""
    offset: float
    scale: float
    clip: float
    """The result is limited to plus and minus this."""


class Pictures:
    """All cameras of one policy."""

    def __init__(self, settings: Mapping[str, Sequence[Sequence[Any]]], cameras: Mapping[str, int]) -> None:
        """`settings`: the fields of all `terms` and `ages`. `cameras`: by name, the descriptor of the frames;
        they may be closed afterwards. Raises BackendError when frames are to be resized and nothing can do it.
        """
        self.terms = [PictureTerm(*fields) for fields in settings["terms"]]
        self._ages = [AgeTerm(*fields) for fields in settings["ages"]]
        self._readers = {name: FrameReader(descriptor) for name, descriptor in cameras.items()}
        for term in self.terms:
            layout = self._readers[term.camera].layout
            if (layout.height, layout.width) != (term.height, term.width):
                _pillow()

    def nothing(self) -> dict[str, Picture]:
        """What a model is warmed up with: pictures of zeros, by the model's names."""
        return {term.input: np.zeros(term.shape, term.dtype) for term in self.terms}

    def take(
        self, observation: npt.NDArray[np.float32], now_ns: int
    ) -> tuple[dict[str, Picture], list[tuple[int, int]]]:
        """The newest pictures by the model's names, and number and capture time (ns) of each camera's frame.

        Writes the ages at `now_ns` into `observation`. Raises Unavailable when a camera has no frame.
        """
        frames = {}
        for name, reader in self._readers.items():
            frame = reader.latest()
            if frame is None:
                raise Unavailable(f"camera {name} has no frame")
            frames[name] = frame
        for age in self._ages:
            value = ((now_ns - frames[age.camera].mono_ns) / 1e9 - age.offset) * age.scale
            observation[age.place] = min(max(value, -age.clip), age.clip)
        pictures = {term.input: term.picture(frames[term.camera].pixels) for term in self.terms}
        return pictures, [(frame.number, frame.mono_ns) for frame in frames.values()]


def _pillow() -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise BackendError(
            f"{sys.executable} cannot import PIL ({error}), which makes frames smaller; install pillow there (for "
            "reflexd's own interpreter: the extra reflexd[cameras]), or give the observation the camera's size"
        ) from error
