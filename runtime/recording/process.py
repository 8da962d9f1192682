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
from runtime.events import stops_robot
from runtime.recording.ring import TraceReader
from runtime.recording.segment import INFO, Segment
from runtime.recording.trace import TraceLayout
from runtime.spool.files import Files
from runtime.spool.layout import OPEN, Class, Entry, State, folders, free_name, whole

MESSAGE_MAX = 192 * 1024
"""The longest message that the daemon may send; an ordinary socket takes that much."""
_LOOK_S = 0.1
_BATCH = 256
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
        recording = Recording(settings, channel, Files())
        try:
            recording.run()
        except OSError as error:
            sys.exit(f"{recording.path}: {error.strerror or error}")


class Recording:
    """Writes `open/<robot>-<UTC time>.mcap`, a new one every `segment_s`; when it is whole it goes to `ready`."""

    def __init__(self, settings: Mapping[str, Any], channel: socket.socket, files: Files) -> None:
        self._root = self.path = Path(settings["directory"])
        """The file being written."""
        self._files = files
        self._settings = settings
        self._channel = channel
        self._layout = TraceLayout(*settings["trace"])
        self._ring = TraceReader(self._layout, settings["capacity"], MEMORY)
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._ended = False
        self._stopped_s = -math.inf
        """When something last stopped the robot, by CLOCK_MONOTONIC, s."""
        self._kind = Class.BULK

    def run(self) -> None:
        """Record until the end. Raises OSError when the disk fails."""
        self._files.prepare(folders(self._root))
        while not self._ended:
            self._write_segment()

    def _write_segment(self) -> None:
        started = synced = time.monotonic()
        name = self._name_segment()
        self.path = self._root / OPEN / whole(name)
        self._kind = Class.BULK
        counted = 0
        with self._files.create(self.path) as file:
            with contextlib.suppress(OSError):  # the daemon may have ended
                self._channel.send(str(self.path).encode())
            with Segment(file, self._layout.definition, self._settings["metadata"]) as segment:
                due_s = started + self._settings["segment_s"]
                while not self._ended and not is_over(due_s, self._stopped_s, time.monotonic()):
                    self._poll.poll(round(_LOOK_S * 1e3))
                    self._listen(segment)
                    self._ring.look()
                    if self._ended:
                        self._ring.look()  # nothing comes after what is there now
                    more = True
                    while more:
                        records = self._ring.take(_BATCH)
                        segment.add_ticks(records)
                        more = len(records) > 0
                        # Also in the middle of a long backlog: whoever comes after a crash has less to do again.
                        if time.monotonic() - synced > self._settings["sync_s"] - _LOOK_S:
                            # Nothing reaches the file in between: a crash leaves what the ring takes for done.
                            segment.flush()
                            synced = time.monotonic()
                            self._files.sync(file)
                            self._ring.done(file.tell() - counted)
                            counted = file.tell()
            self._files.sync(file)
            self._ring.done(file.tell() - counted)
            # Still locked: what is moved is nobody else's business.
            self._files.move(self.path, Entry(self._root, State.READY, self._kind, name, file.tell()).path)

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
            if topic == "/events" and stops_robot(message["name"], message["level"] > INFO):
                self._stopped_s = mono_ns / 1e9
                self._kind = Class.SAFETY

    def _name_segment(self) -> str:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return free_name(self._root, f"{self._settings['robot']}-{stamp}")


def is_over(due_s: float, stopped_s: float, now_s: float) -> bool:
    """Whether a file ends now. `due_s`: when it should; `stopped_s`: when something last stopped the robot."""
    return now_s >= due_s and (now_s >= stopped_s + AROUND_S or now_s >= due_s + _LONGER_S)
