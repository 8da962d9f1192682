"""What can be said of a frame without knowing what it shows: exposure, blur, and whether it has changed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_DARK, _BRIGHT = 4, 251
"""Luma up to which, and from which on, a pixel counts as clipped: a sensor's noise lies in between."""
_EVERY = 4
"""Blur is looked for around every so many rows, which costs a quarter and says the same."""


@dataclass(frozen=True, slots=True)
class FrameQuality:
    """The statistics of one frame."""

    number: int
    """The camera's number of the frame."""
    mono_ns: int
    """Moment of the capture, CLOCK_MONOTONIC, ns."""
    brightness: float
    """Mean luma, 0 ... 255."""
    dark: float
    """Share of pixels that are black, 0 ... 1."""
    bright: float
    """Share of pixels that are white, 0 ... 1."""
    sharpness: float
    """Variance of the luma's Laplacian (Pech-Pacheco et al., 2000): low where nothing is in focus."""
    change: float
    """Mean absolute difference of the luma to the frame before, 0 ... 255; NaN for the first one."""


class FrameGauge:
    """Measures the frames of one camera, one after the other."""

    def __init__(self) -> None:
        self._before: Pixels | None = None

    def measure(self, number: int, mono_ns: int, pixels: Pixels) -> FrameQuality:
        """Of R, G, B, uint8, shape (height, width, 3), at least 3 pixels high and wide."""
        luma = _luma(pixels)
        before, self._before = self._before, luma
        counts = np.bincount(luma.ravel(), minlength=256)
        share = 1.0 / luma.size
        return FrameQuality(
            number,
            mono_ns,
            brightness=float(counts @ np.arange(256)) * share,
            dark=float(counts[: _DARK + 1].sum()) * share,
            bright=float(counts[_BRIGHT:].sum()) * share,
            sharpness=_sharpness(luma),
            change=_difference(luma, before) if before is not None else math.nan,
        )


def _luma(pixels: Pixels) -> Pixels:
    """ITU-R BT.601 in whole numbers."""
    weighted = pixels[..., 0] * np.uint16(77)
    weighted += pixels[..., 1] * np.uint16(150)
    weighted += pixels[..., 2] * np.uint16(29)
    weighted += 128
    luma: Pixels = (weighted >> 8).astype(np.uint8)
    return luma


def _sharpness(luma: Pixels) -> float:
    signed = luma.astype(np.int16)
    laplacian = signed[:-2:_EVERY, 1:-1] + signed[2::_EVERY, 1:-1]
    row = signed[1:-1:_EVERY]
    laplacian += row[:, :-2] + row[:, 2:] - 4 * row[:, 1:-1]
    return float(laplacian.var())


def _difference(luma: Pixels, before: Pixels) -> float:
    # Of two bytes: max - min never wraps.
    difference = np.maximum(luma, before) - np.minimum(luma, before)
    return float(difference.mean())
