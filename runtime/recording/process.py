"""The recorder's process: writes what the ring holds, and what the daemon says, into MCAP files.

It outlives a daemon that is killed by just as long as it takes to write the rest.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from runtime.child.process import MEMORY, SOCKET
from runtime.events import SAFETY_FAMILIES
from runtime.recording.ring import TraceReader
from runtime.recording.segment import Segment
from runtime.recording.trace import TraceLayout

INFO = 2
"""The level of an event that is information, as in the schema foxglove.Log."""
MESSAGE_MAX = 192 * 1024
"""The longest message that the daemon may send; an ordinary socket takes that much."""
_LOOK_MS = 100
_BATCH = 256
_SYNC_S = 0.5
"""After a power cut no more than this, and what was in the last chunk, is missing."""
AROUND_S = 10.0
"""A file is not ended within this time after something has stopped the robot: what came after stays with it."""
_LONGER_S = 60.0
"""A file gets longer than it should be by this at most, however often something stops the robot."""
_PR_SET_NAME = 15  # linux/prctl.h


def main(argument: str) -> None:
    """Record until the daemon says so or ends. Exits with 1, and says why, when the disk fails."""
    settings: dict[str, Any] = json.loads(argument)
    # Ctrl-C, and what a service manager sends to all, are for the daemon: when it ends, so do we.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGABRT):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_NAME, b"reflexd-record")
    if settings["cpus"]:
        os.sched_setaffinity(0, settings["cpus"])
    with socket.socket(fileno=SOCKET) as channel:
        channel.setblocking(False)
        recording = Recording(settings, channel)
        try:
            recording.run()
        except OSError as error:
            sys.exit(f"{recording.path}: {error.strerror or error}")


class Recording:
    """Writes `<directory>/<robot>-<UTC time>.mcap`, a new file every `segment_s`."""

    def __init__(self, settings: Mapping[str, Any], channel: socket.socket) -> None:
        self.path = Path(settings["directory"])
        """The file being written."""
        self._settings = settings
        self._channel = channel
        self._layout = TraceLayout(*settings["trace"])
        self._ring = TraceReader(self._layout, settings["capacity"], MEMORY)
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._ended = False
        self._stopped_s = -math.inf
        """When something last stopped the robot, by CLOCK_MONOTONIC, s."""

    def run(self) -> None:
        """Record until the end. Raises OSError when the disk fails."""
        self.path.mkdir(parents=True, exist_ok=True)
        while not self._ended:
            self._write_segment()

    def _write_segment(self) -> None:
        started = time.monotonic()
        self.path = self._name_segment()
        with self.path.open("xb") as file:
            with contextlib.suppress(OSError):  # the daemon may have ended
                self._channel.send(str(self.path).encode())
            counted, synced = 0, time.monotonic()
            with Segment(file, self._layout.definition, self._settings["metadata"]) as segment:
                due_s = started + self._settings["segment_s"]
                while not self._ended and not is_over(due_s, self._stopped_s, time.monotonic()):
                    self._poll.poll(_LOOK_MS)
                    self._listen(segment)
                    self._ring.look()
                    if self._ended:
                        self._ring.look()  # nothing comes after what is there now
                    while len(records := self._ring.take(_BATCH)):
                        segment.add_ticks(records)
                    file.flush()
                    if time.monotonic() - synced > _SYNC_S:
                        os.fdatasync(file.fileno())  # also: only this tells of a disk that takes and loses
                        synced = time.monotonic()
                    self._ring.done(file.tell() - counted)
                    counted = file.tell()
            self._ring.done(file.tell() - counted)

    def _listen(self, segment: Segment) -> None:
        while not self._ended:
            try:
                data = self._channel.recv(MESSAGE_MAX)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._ended = True
                return
            topic, mono_ns, message, actions = msgpack.unpackb(data)
            if actions is not None:
                message["actions"] = np.frombuffer(actions[1]).reshape(-1, actions[0]).tolist()
            segment.add_message(topic, mono_ns, message)
            if topic == "/events" and message["level"] > INFO and message["name"].startswith(SAFETY_FAMILIES):
                self._stopped_s = mono_ns / 1e9

    def _name_segment(self) -> Path:
        directory, robot = Path(self._settings["directory"]), self._settings["robot"]
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = directory / f"{robot}-{stamp}.mcap"
        number = 1
        while path.exists():
            number += 1
            path = directory / f"{robot}-{stamp}-{number}.mcap"
        return path


def is_over(due_s: float, stopped_s: float, now_s: float) -> bool:
    """Whether a file ends now. `due_s`: when it should; `stopped_s`: when something last stopped the robot."""
    return now_s >= due_s and (now_s >= stopped_s + AROUND_S or now_s >= due_s + _LONGER_S)
