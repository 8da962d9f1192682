"""A sensor whose measurements arrive as datagrams on a Unix socket: IMU drivers, estimators, the emulator.

One datagram: u64 CLOCK_MONOTONIC time of the measurement, ns, then the values of all fields in order as
float64; everything little-endian.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import time
from math import isfinite
from pathlib import Path
from typing import Literal

import numpy as np

from drivers.errors import SensorError
from drivers.sensor import SensorOptions
from drivers.state import Floats

DATAGRAMS_AT_ONCE = 32
PATH_BYTES_MAX = 107  # sockaddr_un.sun_path without its terminating zero


class DatagramOptions(SensorOptions):
    """Options of the datagram sensor."""

    type: Literal["datagram"] = "datagram"
    """Driver of the sensor."""
    path: Path
    """Unix socket that the daemon binds and the measuring program sends to."""


class DatagramSensor:
    """Takes the newest datagram of each tick. Counts what it throws away, and why."""

    Options = DatagramOptions

    def __init__(self, options: SensorOptions) -> None:
        if not isinstance(options, DatagramOptions):
            raise TypeError(f"expected DatagramOptions, found {type(options).__name__}")
        self.name = options.name
        self.fields: dict[str, slice] = {}
        width = 0
        for field, size in options.fields.items():
            self.fields[field] = slice(width, width + size)
            width += size
        self.values: Floats = np.full(width, np.nan)
        self.stamp_ns = 0
        self.received = 0
        """Datagrams taken."""
        self.malformed = 0
        """Datagrams thrown away for a wrong length or a value that is not finite."""
        self.stale = 0
        """Datagrams thrown away for a time in the future, or not newer than the newest one."""
        self._path = options.path
        self._socket: socket.socket | None = None
        self._inode = 0
        # Plain numbers, no array arithmetic: for so few values it is quicker, above all with cold caches.
        self._unpack = struct.Struct(f"<Q{width}d").unpack
        self._size = struct.calcsize(f"<Q{width}d")

    async def open(self) -> None:
        """Bind the socket; one left behind by a killed process is replaced. Raises SensorError."""
        path = self._path
        size = len(os.fsencode(path))
        if size > PATH_BYTES_MAX:
            raise SensorError(
                f"sensor {self.name}: socket path {path} has {size} bytes, a Unix socket takes at most "
                f"{PATH_BYTES_MAX}; use a shorter folder"
            )
        # No receive buffer to set: the kernel queues few datagrams per Unix socket (net.unix.max_dgram_qlen)
        # and refuses more, so a stalled reader finds little old data.
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._make_way()
            bound.bind(os.fspath(path))
            self._inode = path.stat().st_ino
        except OSError as error:
            bound.close()
            raise SensorError(
                f"sensor {self.name}: cannot bind {path}: {error.strerror}; the folder must exist and be writable"
            ) from error
        except SensorError:
            bound.close()
            raise
        self._socket = bound

    def read(self, now_ns: int) -> None:
        """Take the newest of the datagrams that have arrived, at most DATAGRAMS_AT_ONCE of them.

        It is known as the newest when the one after it is not due yet: asking the kernel in vain costs more than
        to take one. A sender that was silent makes the next look, not this one, find what came behind.
        """
        if self._socket is None:
            return
        receive, too_long = self._socket.recv, self._size + 1  # cut there: so that it shows
        for _ in range(DATAGRAMS_AT_ONCE):
            try:
                stamp_ns, *values = self._unpack(receive(too_long))
            except OSError:  # BlockingIOError: nothing more
                return
            except struct.error:
                self.malformed += 1
                continue
            if not all(map(isfinite, values)):
                self.malformed += 1
                continue
            # `now_ns` is when the tick began; what was measured since then is not from the future.
            if stamp_ns <= self.stamp_ns or (stamp_ns > now_ns and stamp_ns > time.monotonic_ns()):
                self.stale += 1
                continue
            due_ns = 2 * stamp_ns - self.stamp_ns
            self.values[:] = values
            self.stamp_ns = stamp_ns
            self.received += 1
            if due_ns > now_ns:
                return

    async def close(self) -> None:
        """Close the socket and remove its path, unless somebody else has taken it. Never raises."""
        if self._socket is None:
            return
        self._socket.close()
        self._socket = None
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _make_way(self) -> None:
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise SensorError(
                f"sensor {self.name}: {self._path} exists and is not a socket; remove it or choose another path"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(os.fspath(self._path))
            except OSError:
                self._path.unlink()
                return
        raise SensorError(
            f"sensor {self.name}: another process reads {self._path}; stop it or choose another path"
        )
