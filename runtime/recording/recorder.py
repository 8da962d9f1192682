"""The recorder, seen from the daemon: starts its process, tells it what happens, replaces it when it dies.

Ticks need no hand: the process finds them in the ring.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgpack

from runtime.child.keeper import ChildKeeper
from runtime.child.own import arguments
from runtime.child.process import CLEAN_EXIT, ChildProcess
from runtime.config.quality import Quality
from runtime.control.seams.seam import Seam
from runtime.events import Event, Events
from runtime.policy.chunk import Chunk
from runtime.policy.tasks import Task
from runtime.recording.contract import INFO, MESSAGE_MAX, KeepRules
from runtime.recording.episode import Episode
from runtime.recording.ring import TraceRing
from runtime.recording.video.stream import VideoStream

_WAITING_MAX = 10_000
"""Events and chunks that wait for a recorder at most."""
_RETRY_MAX_S = 30.0
_SEND_S = 0.5
"""What a full socket did not take is offered again so often, and at the end more often."""
_CLOSE_SEND_S = 0.02
_CLOSE_S = 5.0
_LOG_LEVEL = {"info": INFO, "warning": 3, "error": 4}
"""Levels of the well-known schema foxglove.Log."""
_Actions = tuple[int, bytes] | None
_Order = Mapping[str, Any]
"""What is said of episodes, see `Recorder.add_episode`."""


class Recorder:
    """Recording as the daemon sees it. A disk that is full, slow or gone never touches the tick: what the ring and
    the queue cannot hold is lost and counted, and recording goes on, in a new file, when the disk is back."""

    def __init__(
        self,
        trace: TraceRing,
        events: Events,
        directory: Path,
        robot: str,
        rules: KeepRules,
        metadata: Mapping[str, str],
        cpus: Sequence[int] = (),
        sync_s: float = 0.5,
        quality: Quality | None = None,
        videos: Mapping[str, VideoStream] | None = None,
    ) -> None:
        """`metadata`: of every file. `cpus`: where the process may run, empty for anywhere. `sync_s`: longest time
        between two syncs of the disk. `quality`: what episodes are judged by, the defaults if left out.
        `videos`: the cameras that are recorded."""
        self.path: Path | None = None
        """The file being written."""
        self.failed = ""
        """Why nothing is recorded now; empty while all is well."""
        self._trace = trace
        self._events = events
        self._settings = {
            "trace": trace.layout.names,
            "capacity": trace.capacity,
            "directory": str(directory),
            "robot": robot,
            "rules": asdict(rules),
            "quality": (quality or Quality()).model_dump(),
            "sync_s": sync_s,
            "cpus": list(cpus),
            "cameras": {camera: video.rate for camera, video in (videos or {}).items()},
        }
        self._metadata = dict(metadata)
        self._sent: _Order | None = None
        """The open episode, as the process was told of it last."""
        self._part = 0
        """Of the open episode, the one that is being written."""
        self._waiting: deque[tuple[bytes, _Order | None]] = deque()
        self._lost = 0
        self._keeper = ChildKeeper(
            self._arguments,
            self._on_message,
            self._watch,
            self._on_failed,
            trace.descriptor,
            tuple(video.ring.descriptor for video in (videos or {}).values()),
            longest_s=_RETRY_MAX_S,
            grace_s=_CLOSE_S,
        )
        self._closing = False

    @property
    def file_bytes(self) -> int:
        """Bytes written to all files."""
        return self._trace.file_bytes

    @property
    def dropped(self) -> int:
        """Ticks, events and chunks that the recorder was too late for."""
        return self._trace.dropped + self._lost

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._keeper.pid

    def describe(self, metadata: Mapping[str, str]) -> None:
        """Add to the metadata of the files that begin from now on."""
        self._metadata |= metadata
        self._tell("metadata", 0, self._metadata)

    def start(self) -> None:
        """Begin to record, on the running event loop. What was told before is recorded as well."""
        self._events.listen(self._on_event)
        self._keeper.start()

    async def close(self) -> None:
        """Have the rest written and the file closed; waits at most 5 s for a slow disk."""
        self._closing = True
        self._tell("end", 0, {})
        process, deadline = self._keeper.process, time.monotonic() + _CLOSE_S
        while process is not None and not process.exited.done() and self._waiting and time.monotonic() < deadline:
            await asyncio.sleep(_CLOSE_SEND_S)
            self._send()
        await self._keeper.close()
        if process is not None and not (process.exited.done() and process.exited.result() == CLEAN_EXIT):
            self._fail(process.end(), "the end is missing")

    def add_chunk(self, chunk: Chunk, arrived_ns: int, seam: Seam, task: Task) -> None:
        """Record an action chunk as it arrived, its seam, and what it was asked for. It takes microseconds."""
        count, width = chunk.actions.shape
        rows = max(1, MESSAGE_MAX // 2 // (8 * width))
        for first in range(0, count, rows):
            about = {
                "t0_mono_ns": chunk.t0_ns,
                "arrived_mono_ns": arrived_ns,
                "latency_s": chunk.latency_ns / 1e9,
                "by": seam.by,
                "seam": seam.strategy,
                "seam_mono_ns": seam.at_ns,
                "seam_before_rad": seam.before_rad,
                "seam_after_rad": seam.after_rad,
                "seam_fade_s": seam.fade_s,
                **task.recorded(),
                **({"uncertainty": chunk.uncertainty} if math.isfinite(chunk.uncertainty) else {}),
                "cameras": {name: {"number": n, "mono_ns": ns} for name, (n, ns) in chunk.frames.items()},
                "first": first,
            }
            self._tell("/chunks", arrived_ns, about, (width, chunk.actions[first : first + rows].tobytes()))

    def add_episode(self, action: str, episode: Episode | None, at: tuple[int, int], note: str, by: str) -> None:
        """Record what was said of an episode, None where none is open; `start` and its end begin a new file.

        `action`: `start`, `success`, `failure`, `discard`, `cut_off` or `mark`; `update` tells only that more is
        known of it. `at`: CLOCK_MONOTONIC and CLOCK_REALTIME, ns.
        """
        message = {
            "episode": episode.id if episode is not None else "",
            "action": action,
            "task": episode.task if episode is not None else "",
            "prompt": episode.prompt if episode is not None else "",
            "note": note,
            "by": by,
            "mono_ns": at[0],
            "wall_ns": at[1],
            "verdict": "",
            "reasons": [],
        }
        order = {"message": message, "episode": episode.as_dict() if episode is not None else None, "part": 0}
        self._tell("/episodes", at[0], order, order=order)

    def _on_event(self, event: Event) -> None:
        sec, nsec = divmod(event.wall_ns, 1_000_000_000)
        about = {
            "timestamp": {"sec": sec, "nsec": nsec},
            "level": _LOG_LEVEL[event.level],
            "message": event.message,
            "name": event.name,
            "file": "",
            "line": 0,
            "mono_ns": event.mono_ns,
            "fields": event.fields,
        }
        self._tell("/events", event.mono_ns, about)

    def _tell(
        self,
        topic: str,
        mono_ns: int,
        message: Mapping[str, Any],
        actions: _Actions = None,
        order: _Order | None = None,
    ) -> None:
        """Callable from any thread; never waits. `order`: the message again where it is one; none is lost."""
        if order is not None or len(self._waiting) < _WAITING_MAX:
            self._waiting.append((msgpack.packb((topic, mono_ns, message, actions), default=str), order))
        else:
            self._lost += 1
        self._send()

    def _send(self) -> None:
        # Always through the queue: a thread that finds no process leaves its message to whoever starts one.
        process = self._keeper.process
        while process is not None and self._waiting:
            message, order = self._waiting.popleft()
            try:
                process.send(message)
            except OSError:  # full or dead: `_watch` tries again
                self._waiting.appendleft((message, order))
                return
            if order is not None:
                episode = order["episode"]
                self._sent = order if episode is not None and not episode["ended_mono_ns"] else None

    def _on_message(self, message: bytes) -> None:
        told = msgpack.unpackb(message)
        if "event" in told:
            name, text, level, fields = told["event"]
            self._events.emit(name, text, level, **fields)
        else:
            self.path, self._part = Path(told["path"]), told["part"]
            self.failed = ""

    def _arguments(self) -> tuple[str, ...]:
        return arguments("runtime.recording.process", {**self._settings, "metadata": self._metadata})

    async def _watch(self, process: ChildProcess) -> str:
        self._keeper.ready()
        while not process.exited.done():
            self._send()
            await asyncio.wait({process.exited}, timeout=_SEND_S)
        return ""

    def _on_failed(self, cause: str, wait_s: float) -> None:
        if self._closing:  # it has done what it was told
            return
        if self._sent is not None:  # the next process knows nothing of it
            order = {**self._sent, "message": {"action": "update"}, "part": self._part}
            self._waiting.appendleft((msgpack.packb(("/episodes", 0, order, None)), order))
            self._sent = None
        self._fail(cause, f"next attempt in {wait_s:g} s")

    def _fail(self, cause: str, consequence: str) -> None:
        self.failed = cause
        self._events.emit(
            "recording.failed",
            f"nothing is recorded: {cause}; {consequence}; control goes on without it",
            level="error",
            path=str(self.path),
            reason=cause,
        )
