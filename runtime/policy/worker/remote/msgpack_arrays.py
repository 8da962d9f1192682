"""openpi's messages: msgpack, with arrays as maps of their bytes, type and shape.

An array is the map of bin keys `__ndarray__` (true), `data`, `dtype` ("<f4") and `shape`, a numpy scalar that of
`__npgeneric__` (true), `data` and `dtype`, as the package openpi-client writes them. What comes from a server is
read as data and never as anything else: numbers and booleans only, their bytes as many as type and shape say.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library and msgpack.
"""

from __future__ import annotations

import math
import re
from typing import Any, Callable, Mapping

import numpy as np

# Booleans, integers and floats of up to eight bytes. Objects ("|O") would be pointers.
_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])")
_DIMENSIONS_MAX = 8


def pack(message: Mapping[str, Any], packb: Callable[..., bytes]) -> bytes:
    """`message` as bytes; `packb` is msgpack's."""
    return packb(message, default=_encode)


def unpack(data: bytes, unpackb: Callable[..., Any]) -> dict[str, Any]:
    """The map in `data`; its arrays are read-only. `unpackb` is msgpack's. Raises ValueError for anything else."""
    message = unpackb(data, object_hook=_decode)
    if not isinstance(message, dict):
        raise ValueError(f"found a message of type {type(message).__name__}, expected a map")
    return message


def _encode(value: Any) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
    raise TypeError(f"found a {type(value).__name__}, expected numbers or text")


def _decode(value: dict[Any, Any]) -> Any:
    if b"__ndarray__" in value:
        data, shape = value.get(b"data"), value.get(b"shape")
        dtype = _dtype(value.get(b"dtype"))
        if not isinstance(data, bytes) or not isinstance(shape, list) or len(shape) > _DIMENSIONS_MAX:
            raise ValueError("found an array without data or shape")
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"found an array of shape {shape}")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"found an array of type {dtype}, shape {shape} and {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(shape)
    if b"__npgeneric__" in value:
        data = value.get(b"data")
        if not isinstance(data, (bool, int, float)):
            raise ValueError("found a numpy scalar that is no number")
        return _dtype(value.get(b"dtype")).type(data)
    return value


def _dtype(text: object) -> np.dtype[Any]:
    if not isinstance(text, str) or not _DTYPE.fullmatch(text):
        raise ValueError(f"found an array of type {text!r}, expected numbers")
    return np.dtype(text)
