"""The recorder's process: writes what the ring holds, and what the daemon says, into MCAP files.

It outlives a daemon that is killed by just as long as it takes to write the rest.

It takes `(topic, time, message, actions)` as msgpack over the socket that it inherits: `/events` and `/chunks`,
`/episodes` with an order (see `Recorder.add_episode`), `metadata`, and `end` when the daemon ends as it should. It
sends `{"path": the file being written, "part": of the open episode}` and
`{"event": [name, message, level, fields]}`.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from runtime.child.begin import MEMORY, SOCKET, begin
from runtime.recording.contract import MESSAGE_MAX, KeepRules
from runtime.recording.episode import Episode
from runtime.recording.gates import Gates
from runtime.recording.keeping import Keeping, Piece
from runtime.recording.ring import TraceReader
from runtime.recording.trace import TraceLayout
from runtime.recording.video.tracks import VideoTracks
from runtime.spool.files import Files
from runtime.spool.layout import folders, free_name

_LOOK_S = 0.1
_BATCH = 256
_TOGETHER_NS = 10_000_000
"""Two clocks that were read within this time were read together; otherwise another process came between."""
_TEXT_MAX = 1000
"""A message has to fit into what the daemon takes (`runtime.child.process.MESSAGE_MAX`)."""


def main(argument: str) -> None:
    """Record until the daemon says so or ends. Exits with 1, and says why, when the disk fails."""
    settings: dict[str, Any] = json.loads(argument)
    begin("reflexd-record", settings["cpus"])
    with socket.socket(fileno=SOCKET) as channel:
        channel.setblocking(False)
        recording = Recording(settings, channel, Files())
        try:
            recording.run()
        except OSError as error:
            sys.exit(f"{recording.path}: {error.strerror or error}")


@dataclass(frozen=True, slots=True)
class _Order:
    """What the daemon says of episodes; `start` and what ends one begin a new file."""

    action: str
    mono_ns: int
    message: Mapping[str, Any]
    """For the topic `/episodes`."""
    episode: Episode | None
    """All that is known of the open one, or of the one that ends with it."""
    part: int
    """The last part of the open one that the daemon knows of."""


class Recording:
    """Writes `open/<robot>-<UTC time>.mcap`, one after the other."""

    def __init__(self, settings: Mapping[str, Any], channel: socket.socket, files: Files) -> None:
        self._root = self.path = Path(settings["directory"])
        """The file being written."""
        self._files = files
        self._settings = settings
        self._metadata: Mapping[str, str] = settings["metadata"]
        self._channel = channel
        self._layout = TraceLayout(*settings["trace"])
        self._ring = TraceReader(self._layout, settings["capacity"], MEMORY)
        rules = KeepRules(**settings["rules"])
        self._video = VideoTracks({name: MEMORY + 1 + n for n, name in enumerate(settings["cameras"])})
        gates = Gates.of(settings["quality"], self._layout, settings["cameras"])
        self._keeping = Keeping(self._root, rules, gates, files, self._tell, self._done)
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._ended = self._clean = False
        self._part = 0
        """Of the open episode, the last one."""

    def run(self) -> None:
        """Record until the end. Raises OSError when the disk fails."""
        self._files.prepare(folders(self._root))
        order: _Order | None = None
        while not self._ended:
            order = self._write_segment(order)
        self._keeping.end(self._clean, time.monotonic())

    def _write_segment(self, begins: _Order | None) -> _Order | None:
        """One file. `begins`: the order that has ended the one before; returns the one that has ended this one."""
        keeping = self._keeping
        started = synced = time.monotonic()
        self._part += 1
        piece = keeping.begin(self._name_segment(), self._layout.definition, self._metadata, self._part, started)
        self.path = piece.path
        self._say({"path": str(piece.path), "part": piece.part})
        if begins is not None and begins.action == "start":
            piece.segment.add_message("/episodes", begins.mono_ns, begins.message)
        self._video.begin()
        order: _Order | None = None
        while not self._ended and not self._may_end(order):
            if order is None:
                self._poll.poll(round(_LOOK_S * 1e3))
                order = self._listen(piece)
            else:
                time.sleep(_LOOK_S)  # for the cameras' keyframes; whatever else is said is for the next file
            self._read_clocks()
            self._ring.look()
            if order is not None or self._ended:
                self._ring.look()  # what comes after is not for this file, and all before is there
            for camera, quality in self._video.write(piece.segment, everything=self._ended):
                keeping.frame(camera, quality)
            more = True
            while more:
                records = self._ring.take(_BATCH, order.mono_ns if order is not None else None)
                keeping.ticks(records, time.monotonic())
                more = len(records) > 0
                # Also in the middle of a long backlog: whoever comes after a crash has less to do again.
                if time.monotonic() - synced > self._settings["sync_s"] - _LOOK_S:
                    synced = time.monotonic()
                    self._sync(piece)
        self._sync(piece)
        keeping.close(time.monotonic())
        if order is not None and order.episode is not None:
            if order.action == "start":
                keeping.start_episode(order.episode)
                self._part = 0
            else:
                keeping.end_episode(order.episode, time.monotonic())
        return order

    def _may_end(self, order: _Order | None) -> bool:
        now_s = time.monotonic()
        return self._video.may_end(order is not None or self._keeping.is_over(now_s), now_s)

    def _done(self, written_bytes: int) -> None:
        """All that was taken is on the disk."""
        self._ring.done(written_bytes)
        self._video.done()

    def _read_clocks(self) -> None:
        before_ns, wall_ns = time.monotonic_ns(), time.time_ns()
        if time.monotonic_ns() - before_ns < _TOGETHER_NS:
            self._keeping.clock(before_ns, wall_ns)

    def _sync(self, piece: Piece) -> None:
        # Nothing reaches the file in between: a crash leaves what the ring takes for done.
        piece.segment.flush()
        self._files.sync(piece.file)
        at = piece.file.tell()
        self._done(at - piece.counted)
        piece.counted = at

    def _listen(self, piece: Piece) -> _Order | None:
        """Take what the daemon has said, up to an order with which this file ends."""
        while not self._ended:
            try:
                data = self._channel.recv(MESSAGE_MAX)
            except BlockingIOError:
                return None
            except OSError:
                data = b""
            if not data:
                self._ended = True
                return None
            topic, mono_ns, message, actions = msgpack.unpackb(data)
            if topic == "end":
                self._clean = True
            elif topic == "metadata":
                self._metadata = message
            elif topic == "/episodes":
                episode = Episode.of(message["episode"]) if message["episode"] is not None else None
                order = _Order(message["message"]["action"], mono_ns, message["message"], episode, message["part"])
                if self._obey(order, piece):
                    return order
            else:
                if actions is not None:
                    message["actions"] = np.frombuffer(actions[1]).reshape(-1, actions[0]).tolist()
                self._keeping.message(topic, mono_ns, message, time.monotonic())
        return None

    def _obey(self, order: _Order, piece: Piece) -> bool:
        """Do what an order says of the file that is being written; whether that one ends with it."""
        keeping, told = self._keeping, order.episode
        known = keeping.episode is not None and told is not None and keeping.episode.id == told.id
        if order.action == "start" and not known:
            return True
        if told is not None and not known:  # a recorder before this one has begun it
            self._part = order.part + 1
            keeping.join(told, self._part, time.monotonic_ns())
            self._say({"path": str(self.path), "part": self._part})
        if order.action != "update":
            piece.segment.add_message("/episodes", order.mono_ns, order.message)
        if told is not None and told.ended_mono_ns:
            return True
        keeping.episode = told
        if order.action == "mark":
            keeping.mark(order.message["note"], time.monotonic())
        return False

    def _tell(self, name: str, message: str, level: str, **fields: Any) -> None:
        self._say({"event": [name, message[:_TEXT_MAX], level, fields]})

    def _say(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the daemon may have ended
            self._channel.send(msgpack.packb(message))

    def _name_segment(self) -> str:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return free_name(self._root, f"{self._settings['robot']}-{stamp}")
