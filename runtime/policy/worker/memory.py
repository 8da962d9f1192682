"""The memory that daemon and worker share: one observation, one plan, one chunk and its curve, and a
header with their sizes.

There is one request at a time, and the messages on the socket order the accesses: no locks are needed.
Runs in the worker's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct

import numpy as np

_MAGIC = b"reflexd\x00"
_VERSION = 4
# magic, version, observation size, horizon, action size, joints
_HEADER = struct.Struct("<8sIIIII")
# All regions start on a cache line of their own.
_LINE = 64


def _lines(size: int) -> int:
    return -(-size // _LINE) * _LINE


def create(observation_size: int, horizon: int, action_size: int, joints: int = 0) -> int:
    """Descriptor of new shared memory for these sizes. `joints`: 0 for no curve. The caller closes it."""
    descriptor = os.memfd_create("reflexd-policy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        plan, chunk = _lines(4 * horizon * action_size), _lines(8 * horizon * action_size)
        os.ftruncate(descriptor, _LINE + _lines(4 * observation_size) + plan + chunk + 8 * horizon * 4 * joints)
        # A worker that goes wild and shrinks the file would otherwise kill the daemon with SIGBUS.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        os.pwrite(descriptor, _HEADER.pack(_MAGIC, _VERSION, observation_size, horizon, action_size, joints), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


class SharedMemory:
    """The arrays of the memory behind a descriptor; they live as long as somebody holds one of them."""

    def __init__(self, descriptor: int) -> None:
        """Raises ValueError when it is not such memory. Does not close the descriptor."""
        memory = mmap.mmap(descriptor, 0)
        magic, version, size, horizon, action_size, joints = _HEADER.unpack_from(memory)
        if magic != _MAGIC or version != _VERSION:
            raise ValueError(
                f"shared memory: found {magic!r} version {version}, expected {_MAGIC!r} version {_VERSION}; "
                "daemon and worker are of different releases, restart the daemon"
            )
        self.observation = np.frombuffer(memory, np.float32, size, _LINE)
        """float32, shape (N,)."""
        shape, place = (horizon, action_size), _LINE + _lines(4 * size)
        self.plan = np.frombuffer(memory, np.float32, horizon * action_size, place).reshape(shape)
        """What the chunk continues, float32, shape (H, A), of which the first rows count."""
        place += _lines(4 * horizon * action_size)
        self.chunk = np.frombuffer(memory, np.float64, horizon * action_size, place).reshape(shape)
        """float64, shape (H, A): the daemon has nothing to convert."""
        place += _lines(8 * horizon * action_size)
        self.curve = np.frombuffer(memory, np.float64, horizon * 4 * joints, place).reshape((horizon, 4, joints))
        """The curve through the chunk's goals, float64, shape (H, 4, joints)."""
