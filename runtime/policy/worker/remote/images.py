"""A camera's picture as it goes to a server: smaller, and compressed where the server takes that.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library and pillow.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]


def resize(picture: Picture, height: int, width: int, pillow: Any) -> Picture:
    """`picture`, shape (h, w, 3), fitted into (height, width, 3): its proportions stay, the rest is black.

    As openpi's `resize_with_pad`: bilinear, the picture in the middle. `pillow`: the module PIL.Image.
    """
    if picture.shape[:2] == (height, width):
        return picture
    ratio = max(picture.shape[1] / width, picture.shape[0] / height)
    fitted_height, fitted_width = (max(1, int(size / ratio)) for size in picture.shape[:2])
    fitted = pillow.fromarray(picture).resize((fitted_width, fitted_height), resample=pillow.Resampling.BILINEAR)
    padded = np.zeros((height, width, 3), np.uint8)
    top, left = (height - fitted_height) // 2, (width - fitted_width) // 2
    padded[top : top + fitted_height, left : left + fitted_width] = np.asarray(fitted)
    return padded


def jpeg(picture: Picture, quality: int, pillow: Any) -> bytes:
    """`picture`, shape (h, w, 3), as the bytes of a JPEG file. `pillow`: the module PIL.Image."""
    file = io.BytesIO()
    pillow.fromarray(picture).save(file, "JPEG", quality=quality)
    return file.getvalue()
