"""The recorder: drains the trace and the events into MCAP files, on a thread of its own.

Ticks are ROS 2 messages in CDR, events and chunks are JSON: Foxglove and the `mcap` tool read both as they are.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from mcap.writer import CompressionType, Writer

from runtime.events import Event, Events
from runtime.policy.chunk import Chunk
from runtime.recording.trace import TraceRing

_CDR_LITTLE_ENDIAN = b"\x00\x01\x00\x00"
_DRAIN_S = 0.1
"""The recorder looks for work at least so often; a batch of ticks makes it look at once."""
_BATCH = 256
_LOG_LEVEL = {"info": 2, "warning": 3, "error": 4}
"""Levels of the well-known schema foxglove.Log."""
_LOG_SCHEMA = {
    "type": "object",
    "title": "foxglove.Log",
    "properties": {
        "timestamp": {
            "type": "object",
            "title": "time",
            "properties": {"sec": {"type": "integer"}, "nsec": {"type": "integer"}},
        },
        "level": {"type": "integer"},
        "message": {"type": "string"},
        "name": {"type": "string"},
        "file": {"type": "string"},
        "line": {"type": "integer"},
        "mono_ns": {"type": "integer"},
        "fields": {"type": "object"},
    },
}
_CHUNK_SCHEMA = {
    "type": "object",
    "title": "reflexd.Chunk",
    "properties": {
        "t0_mono_ns": {"type": "integer"},
        "arrived_mono_ns": {"type": "integer"},
        "latency_s": {"type": "number"},
        "seam_step_rad": {"type": "number"},
        "actions": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    },
}


class Recorder:
    """Writes `<directory>/<robot>-<UTC time>.mcap`, a new file every `segment_s`.

    A disk that is full, slow or gone stops the recording and says so; it never touches the tick.
    """

    def __init__(
        self,
        trace: TraceRing,
        events: Events,
        directory: Path,
        robot: str,
        segment_s: float,
        metadata: Mapping[str, str],
    ) -> None:
        self.path: Path | None = None
        """The file being written."""
        self.bytes = 0
        """Bytes written to all files."""
        self.failed = ""
        """Why recording stopped; empty while all is well."""
        self._trace = trace
        self._events = events
        self._directory = directory
        self._robot = robot
        self._segment_s = segment_s
        self._metadata = dict(metadata)
        self._queue: deque[tuple[str, int, Any]] = deque(maxlen=10_000)
        self._wall_minus_mono = time.time_ns() - time.monotonic_ns()
        self._stop = False
        self._nudged = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self, defer: Callable[[Callable[[], object]], object]) -> None:
        """Begin to record. `defer`: has a batch begun right after a tick, when the loop has the time."""
        self._events.listen(self._on_event)
        self._trace.on_batch = lambda: defer(self._nudged.set)
        self._thread.start()

    def close(self) -> None:
        """Write what is left and close the file; waits at most 5 s for a slow disk."""
        self._stop = True
        self._nudged.set()
        self._thread.join(5.0)

    def add_chunk(self, chunk: Chunk, arrived_ns: int, seam_step: float) -> None:
        """Record an action chunk as it arrived. Callable from the loop: it only queues."""
        self._queue.append(("/chunks", arrived_ns, (chunk, seam_step)))

    def _on_event(self, event: Event) -> None:
        self._queue.append(("/events", event.mono_ns, event))

    def _run(self) -> None:
        try:
            while not self._stop:
                self._write_segment()
        except OSError as error:
            self.failed = f"{self.path}: {error.strerror or error}"
            self._events.emit(
                "recording.failed",
                f"recording stopped: {self.failed}; control goes on without it",
                level="error",
                path=str(self.path),
                reason=str(error),
            )

    def _write_segment(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        self.path = self._name_segment()
        before = self.bytes
        with self.path.open("xb") as file, _Segment(file, self._trace.definition, self._metadata) as segment:
            while True:
                self._nudged.wait(_DRAIN_S)
                self._nudged.clear()
                stopping = self._stop
                self._drain(segment)
                file.flush()
                self.bytes = before + file.tell()
                if stopping or time.monotonic() - started > self._segment_s:
                    break

    def _name_segment(self) -> Path:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        path = self._directory / f"{self._robot}-{stamp}.mcap"
        number = 1
        while path.exists():
            number += 1
            path = self._directory / f"{self._robot}-{stamp}-{number}.mcap"
        return path

    def _drain(self, segment: _Segment) -> None:
        while len(rows := self._trace.take(_BATCH)):
            content, size = rows.tobytes(), rows.itemsize
            for number, mono_ns in enumerate(rows["mono_ns"].tolist()):
                data = _CDR_LITTLE_ENDIAN + content[number * size : (number + 1) * size]
                segment.add("/ticks", mono_ns + self._wall_minus_mono, mono_ns, data)
        while self._queue:
            topic, mono_ns, item = self._queue.popleft()
            message = _event_json(item) if isinstance(item, Event) else _chunk_json(item[0], item[1], mono_ns)
            data = json.dumps(message, default=str).encode()
            segment.add(topic, mono_ns + self._wall_minus_mono, mono_ns, data)


class _Segment:
    """One MCAP file with the three topics registered."""

    def __init__(self, file: BinaryIO, tick_definition: str, metadata: Mapping[str, str]) -> None:
        # Small chunks: closing one takes less time than there is between two ticks; after a power cut everything
        # up to the last whole one can be read.
        self._writer = Writer(file, chunk_size=32 * 1024, compression=CompressionType.ZSTD)
        self._writer.start(profile="", library="reflexd")
        self._channels = {
            "/ticks": self._register("/ticks", "reflexd/Tick", "ros2msg", tick_definition.encode(), "cdr"),
            "/events": self._register(
                "/events", "foxglove.Log", "jsonschema", json.dumps(_LOG_SCHEMA).encode(), "json"
            ),
            "/chunks": self._register(
                "/chunks", "reflexd.Chunk", "jsonschema", json.dumps(_CHUNK_SCHEMA).encode(), "json"
            ),
        }
        self._writer.add_metadata("reflexd", dict(metadata))

    def __enter__(self) -> _Segment:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.finish()  # type: ignore[no-untyped-call]

    def add(self, topic: str, wall_ns: int, mono_ns: int, data: bytes) -> None:
        """Write one message; the log time is wall time, the publish time monotonic."""
        self._writer.add_message(self._channels[topic], log_time=wall_ns, publish_time=mono_ns, data=data)

    def _register(self, topic: str, name: str, encoding: str, schema: bytes, message_encoding: str) -> int:
        schema_id = self._writer.register_schema(name=name, encoding=encoding, data=schema)
        return int(self._writer.register_channel(topic, message_encoding=message_encoding, schema_id=schema_id))


def _event_json(event: Event) -> dict[str, Any]:
    sec, nsec = divmod(event.wall_ns, 1_000_000_000)
    return {
        "timestamp": {"sec": sec, "nsec": nsec},
        "level": _LOG_LEVEL[event.level],
        "message": event.message,
        "name": event.name,
        "file": "",
        "line": 0,
        "mono_ns": event.mono_ns,
        "fields": event.fields,
    }


def _chunk_json(chunk: Chunk, seam_step: float, arrived_ns: int) -> dict[str, Any]:
    return {
        "t0_mono_ns": chunk.t0_ns,
        "arrived_mono_ns": arrived_ns,
        "latency_s": chunk.latency_ns / 1e9,
        "seam_step_rad": seam_step,
        "actions": chunk.actions.tolist(),
    }
