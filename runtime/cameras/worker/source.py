"""What a camera's process captures from, whatever it is.

Runs in the camera's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any, Mapping, NamedTuple, Optional, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

PATIENCE_S = 0.2
"""So long `read` waits at most: the process has to notice that its daemon has ended."""

_SOURCES = {
    "v4l2": "runtime.cameras.worker.v4l2:V4l2Source",
    "gstreamer": "runtime.cameras.worker.gstreamer:GStreamerSource",
    "video": "runtime.cameras.worker.video:VideoSource",
    "emulated": "runtime.cameras.worker.emulated:EmulatedSource",
}


class CameraError(Exception):
    """A camera cannot be had, or is no more; the text is meant for a person."""


class Captured(NamedTuple):
    """One picture as it came."""

    mono_ns: int
    """Moment of the capture, CLOCK_MONOTONIC, ns."""
    pixels: Pixels
    """R, G, B, shape (height, width, 3). Good until the next `read`."""


class Source(Protocol):
    """An open camera."""

    about: str
    """What was opened, for a person."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Open it. `settings`: the config's of this camera. Raises CameraError."""

    def read(self) -> Optional[Captured]:
        """The next frame; None when there is none within `PATIENCE_S`. Raises CameraError, or anything."""

    def close(self) -> None:
        """Let go of it."""


def open_source(settings: Mapping[str, Any]) -> Source:
    """The source of the type in `settings`, open. Raises CameraError."""
    module, _, name = _SOURCES[settings["type"]].partition(":")
    source: Source = getattr(importlib.import_module(module), name)(settings)
    return source


def need(module: str, package: str) -> Any:
    """The module called `module`. Raises CameraError that says how to come by it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise CameraError(
            f"{sys.executable} cannot import {module} ({error}); install {package} there or name another "
            "interpreter in the camera's `python`"
        ) from error
