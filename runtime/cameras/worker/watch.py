"""Whether what a camera shows can be believed: the same picture for too long, or nothing but black.

Runs in the camera's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

from typing import Optional

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

BLACK = 8.0
"""A picture is black when its mean, 0 to 255, is not above this: a covered lens still has noise."""
_WELL, FROZEN, IS_BLACK = "", "frozen", "black"
# Of each this many rows one is looked at for black: a mean of some thousands of pixels is that of all.
_ROWS = 8


class Watch:
    """Judges frames one after another."""

    def __init__(self, frozen_s: float, black_s: float) -> None:
        """After how long (s) it says so; 0 for never."""
        self.fault = _WELL
        """"frozen", "black", or empty."""
        self._frozen_ns = round(frozen_s * 1e9)
        self._black_ns = round(black_s * 1e9)
        self._last: Optional[Pixels] = None
        self._same_since_ns = self._dark_since_ns = 0
        self._dark = False

    def look(self, pixels: Pixels, mono_ns: int) -> bool:
        """Take note of a frame, captured at `mono_ns`. True when `fault` has changed."""
        if self._frozen_ns and (self._last is None or not np.array_equal(self._last, pixels)):
            self._last = pixels.copy()
            self._same_since_ns = mono_ns
        if self._black_ns:
            dark = float(pixels[::_ROWS].mean()) <= BLACK
            if dark and not self._dark:
                self._dark_since_ns = mono_ns
            self._dark = dark
        fault = _WELL
        if self._dark and mono_ns - self._dark_since_ns >= self._black_ns:
            fault = IS_BLACK
        elif self._frozen_ns and mono_ns - self._same_since_ns >= self._frozen_ns:
            fault = FROZEN
        changed, self.fault = fault != self.fault, fault
        return changed
