"""From what a camera sends to R, G, B: PyAV decodes and converts.

Runs in the camera's interpreter: Python 3.9, numpy, the standard library and av.
"""

from __future__ import annotations

from typing import Any, Optional

import numpy as np
import numpy.typing as npt

from runtime.cameras.worker.source import CameraError, Pixels, need

_PACKED = {
    "YUYV": ("yuyv422", 2),
    "UYVY": ("yuyv422", 2),
    "RGB3": ("rgb24", 3),
    "BGR3": ("bgr24", 3),
    "GREY": ("gray", 1),
}
"""V4L2's names of formats without planes: FFmpeg's name, and bytes for each pixel."""


class Converter:
    """For one size and one pixel format, by its V4L2 name."""

    def __init__(self, pixel_format: str, width: int, height: int, line: int) -> None:
        """`line`: bytes from one row to the next, 0 for a compressed format."""
        self._av = need("av", "av (PyAV)")
        self._format, self._width, self._height, self._line = pixel_format, width, height, line
        self._decoder: Any = self._av.CodecContext.create("mjpeg", "r") if pixel_format == "MJPG" else None

    def convert(self, data: bytes) -> Optional[Pixels]:
        """One frame as R, G, B, shape (height, width, 3); None for a broken one. Raises CameraError."""
        try:
            frame = self._decoded(data) if self._decoder is not None else self._raw(np.frombuffer(data, np.uint8))
        except ValueError:  # as FFmpeg's errors are, and numpy's of a frame that is too short
            return None
        pixels: Pixels = frame.to_ndarray(format="rgb24")
        if pixels.shape != (self._height, self._width, 3):
            raise CameraError(
                f"found a frame of {pixels.shape[1]}x{pixels.shape[0]}, expected {self._width}x{self._height}"
            )
        return pixels

    def _decoded(self, data: bytes) -> Any:
        frames = self._decoder.decode(self._av.Packet(data))
        if len(frames) != 1:
            raise ValueError(f"found {len(frames)} pictures in it, expected one")
        return frames[0]

    def _raw(self, data: npt.NDArray[np.uint8]) -> Any:
        rows = data[: self._rows() * self._line].reshape(self._rows(), self._line)
        if self._format == "NV12":
            return self._av.VideoFrame.from_ndarray(np.ascontiguousarray(rows[:, : self._width]), "nv12")
        name, size = _PACKED[self._format]
        packed = np.ascontiguousarray(rows[:, : size * self._width])
        if self._format == "UYVY":
            packed = packed.reshape(-1, 2)[:, ::-1]
        shape = (self._height, self._width) if size == 1 else (self._height, self._width, size)
        return self._av.VideoFrame.from_ndarray(np.ascontiguousarray(packed).reshape(shape), name)

    def _rows(self) -> int:
        return self._height * 3 // 2 if self._format == "NV12" else self._height
