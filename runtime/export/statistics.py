"""Statistics of columns and of images, as a LeRobotDataset holds them for normalisation.

Per value: `min`, `max`, `mean`, `std`, `count` of samples, and quantiles `q01` to `q99`. Those of a data set come
from those of its episodes; its quantiles are the episodes' own, averaged by their counts, as LeRobot does it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from drivers.state import Floats, Ints

Stats = dict[str, NDArray[np.float64]]

_QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
_KEYS = tuple(f"q{round(100 * each):02d}" for each in _QUANTILES)
_LEVELS = 256


def of_column(values: NDArray[np.generic]) -> Stats | None:
    """Of values of shape (n,) or (n, width); each figure has the shape (1,) or (width,).

    Samples that are not finite do not count; None when no sample is.
    """
    rows = values.reshape(len(values), -1).astype(np.float64)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return None
    found = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    return {
        **found,
        "count": np.array([float(len(rows))]),
        **dict(zip(_KEYS, np.quantile(rows, _QUANTILES, axis=0), strict=True)),
    }


def levels(pixels: NDArray[np.uint8]) -> Ints:
    """How often each level of brightness is there, shape (3, 256). `pixels`: shape (height, width, 3)."""
    step = max(1, min(pixels.shape[:2]) // 150)
    small = pixels[::step, ::step].reshape(-1, 3)
    return np.stack([np.bincount(small[:, channel], minlength=_LEVELS) for channel in range(3)])


def of_images(counts: Ints, images: int) -> Stats:
    """Of images by their `levels`, added up, shape (3, 256); levels from 0 to 1, figures of shape (3, 1, 1)."""
    level = np.arange(_LEVELS) / (_LEVELS - 1)
    total = counts.sum(axis=1)
    mean = counts @ level / total
    variance = counts @ level**2 / total - mean**2
    seen = counts.cumsum(axis=1)
    found = {
        "min": np.array([level[row.nonzero()[0][0]] for row in counts]),
        "max": np.array([level[row.nonzero()[0][-1]] for row in counts]),
        "mean": mean,
        "std": np.sqrt(np.maximum(variance, 0.0)),
    }
    for key, part in zip(_KEYS, _QUANTILES, strict=True):
        found[key] = np.array([level[np.searchsorted(row, part * row[-1])] for row in seen])
    return {**{key: value.reshape(3, 1, 1) for key, value in found.items()}, "count": np.array([float(images)])}


def merge(parts: Sequence[Stats]) -> Stats:
    """Of all episodes together (the variance by Chan, Golub and LeVeque, 1979)."""
    counts = np.array([part["count"][0] for part in parts])

    def average(values: Sequence[Floats]) -> Floats:
        return np.asarray(np.average(np.stack(values), axis=0, weights=counts))

    mean = average([part["mean"] for part in parts])
    variance = average([part["std"] ** 2 + (part["mean"] - mean) ** 2 for part in parts])
    return {
        "min": np.min([part["min"] for part in parts], axis=0),
        "max": np.max([part["max"] for part in parts], axis=0),
        "mean": mean,
        "std": np.sqrt(variance),
        "count": np.array([counts.sum()]),
        **{key: average([part[key] for part in parts]) for key in _KEYS},
    }
