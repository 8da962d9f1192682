"""Torch tensors and numpy arrays out of pickles that were read as plain data, see `pickles`.

Formats: `torch._utils._rebuild_tensor_v2` with a storage in torch's legacy file format (torch/serialization.py,
`_legacy_save`): pickles of a magic number, a version, the writer's byte order, the storage's persistent id and its
keys, then the number of elements as int64 and the elements. numpy: `ndarray.__reduce_ex__` and
`numpy._core.numeric._frombuffer` (protocol 5).

Runs in the worker's interpreter: Python 3.9, numpy and the standard library only. Torch is not needed.
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.remote.pickles import PERSISTENT, Global, Made, Refused, parse_next

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
# In each pickle of a storage: torch writes 27 at most. Any number of tensors may refer to the same storage.
_OPCODES = 100

_STORAGES = {"torch.DoubleStorage": "<f8", "torch.FloatStorage": "<f4", "torch.HalfStorage": "<f2"}
_BFLOAT16 = "torch.BFloat16Storage"
"""The upper half of a float32; numpy has no such type."""

_TENSOR = "torch._utils._rebuild_tensor_v2"
_STORAGE = "torch.storage._load_from_bytes"
_ARRAYS = {f"numpy.{core}.multiarray._reconstruct" for core in ("core", "_core")}
_BUFFERS = {f"numpy.{core}.numeric._frombuffer" for core in ("core", "_core")}
_DTYPES = ("f8", "f4", "f2")

NAMES = frozenset(
    {
        _TENSOR,
        _STORAGE,
        _BFLOAT16,
        *_STORAGES,
        *_ARRAYS,
        *_BUFFERS,
        "numpy.ndarray",
        "numpy.dtype",
        "collections.OrderedDict",
    }
)
"""Classes and functions that may occur in them."""


def array(found: Any) -> npt.NDArray[np.floating[Any]]:
    """The tensor or array that `found` stands for. Raises Refused."""
    maker = found.maker if isinstance(found, Made) else type(found).__name__
    try:
        if maker == _TENSOR:
            return _tensor(*found.args[:4])
        if maker in _BUFFERS:
            data, dtype, shape, order = found.args
            return _shaped(np.frombuffer(data, _dtype(dtype)), shape, order)
        if maker in _ARRAYS:
            _, shape, dtype, fortran, data = found.state
            return _shaped(np.frombuffer(data, _dtype(dtype)), shape, "F" if fortran else "C")
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError) as error:
        raise Refused(f"refused a broken {maker}: {error}") from None
    raise Refused(f"found {maker} in a pickle, expected a tensor or an array of floats")


def _shaped(flat: npt.NDArray[Any], shape: tuple[int, ...], order: Any) -> npt.NDArray[Any]:
    return flat.reshape(_sizes(shape), order="F" if order == "F" else "C")


def _sizes(found: Any) -> tuple[int, ...]:
    """Sizes, strides: a few whole numbers from 0 on."""
    if type(found) is not tuple or len(found) > 8 or not all(type(size) is int and size >= 0 for size in found):
        raise Refused("found a shape that is none")
    return found


def _dtype(found: Any) -> np.dtype[Any]:
    if found.maker != "numpy.dtype" or found.args[0] not in _DTYPES or found.state[1] not in "<>":
        raise Refused(f"found an array of another type, expected floats ({', '.join(_DTYPES)})")
    dtype: np.dtype[Any] = np.dtype(found.state[1] + found.args[0])
    return dtype


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any) -> npt.NDArray[Any]:
    if storage.maker != _STORAGE:
        raise Refused(f"found a tensor on {storage.maker}, expected one on {_STORAGE}")
    flat = _storage(*storage.args)
    (offset,), shape, strides = _sizes((offset,)), _sizes(shape), _sizes(strides)
    if len(shape) != len(strides):
        raise Refused(f"found {len(strides)} strides for {len(shape)} dimensions")
    if 0 in shape:
        return np.empty(shape, flat.dtype)
    last = offset + sum((size - 1) * strides[axis] for axis, size in enumerate(shape))
    # More elements than there are: an expanded tensor, small on the wire and huge in memory.
    if last >= flat.size or math.prod(shape) > flat.size:
        raise Refused(f"found a tensor that reaches to element {last} of {flat.size}")
    steps = [stride * flat.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(flat[offset:], shape, steps).copy()


def _storage(data: bytes) -> npt.NDArray[Any]:
    """The elements of a storage, flat."""
    file = io.BytesIO(data)
    magic, version, system = (parse_next(file, frozenset(), _OPCODES) for _ in range(3))
    if (magic, version, system["little_endian"]) != (_MAGIC, _VERSION, True):
        raise Refused("found a storage in an unknown format, expected torch's legacy one, little-endian")
    found = parse_next(file, NAMES, _OPCODES)
    keys = parse_next(file, frozenset(), _OPCODES)
    if found.maker != PERSISTENT:
        raise Refused(f"found {found.maker}, expected a storage")
    word, kind, key, _, count = found.args[0][:5]
    # Types first: two bombs of references would take ages to compare.
    if type(key) is not str or type(count) is not int or type(kind) is not Global:
        raise Refused("found something else where a storage is expected")
    if word != "storage" or keys != [key]:
        raise Refused("found something else where a storage is expected")
    if int.from_bytes(file.read(8), "little", signed=True) != count:
        raise Refused("found two different numbers of elements in a storage")
    rest = file.read()
    if kind.name == _BFLOAT16:
        flat: npt.NDArray[Any] = (np.frombuffer(rest, "<u2").astype("<u4") << 16).view("<f4")
    else:
        flat = np.frombuffer(rest, _STORAGES[kind.name])
    if flat.size != count:
        raise Refused(f"found {flat.size} elements in a storage, expected {count}")
    return flat
