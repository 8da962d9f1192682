"""One MCAP file. Ticks and frames are ROS 2 messages in CDR, the rest is JSON: Foxglove and `mcap` read both."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
from mcap.writer import CompressionType, Writer
from numpy.typing import NDArray

from runtime.recording.video import messages
from runtime.recording.video.packets import Packet

_CDR_LITTLE_ENDIAN = b"\x00\x01\x00\x00"
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
        "by": {"type": "string"},
        "seam": {"type": "string"},
        "seam_mono_ns": {"type": "integer"},
        "seam_before_rad": {"type": "number"},
        "seam_after_rad": {"type": "number"},
        "seam_fade_s": {"type": "number"},
        "task": {"type": "string"},
        "task_id": {"type": "number"},
        "prompt": {"type": "string"},
        "uncertainty": {"type": "number"},
        "cameras": {"type": "object"},
        "first": {"type": "integer"},
        "actions": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
    },
}
_EPISODE_SCHEMA = {
    "type": "object",
    "title": "reflexd.Episode",
    "properties": {
        "episode": {"type": "string"},
        "action": {"type": "string"},
        "task": {"type": "string"},
        "prompt": {"type": "string"},
        "note": {"type": "string"},
        "by": {"type": "string"},
        "mono_ns": {"type": "integer"},
        "wall_ns": {"type": "integer"},
        "verdict": {"type": "string"},
        "reasons": {"type": "array", "items": {"type": "string"}},
    },
}
_JSON_TOPICS = {"/events": _LOG_SCHEMA, "/chunks": _CHUNK_SCHEMA, "/episodes": _EPISODE_SCHEMA}


class Segment:
    """One MCAP file. The topics of a camera are there from its first frame on."""

    def __init__(self, file: BinaryIO, tick_definition: str, metadata: Mapping[str, str]) -> None:
        """Write the head of the file. Raises OSError, as everything here does when the disk fails."""
        self._writer = Writer(file, chunk_size=32 * 1024, compression=CompressionType.ZSTD)
        self._writer.start(profile="", library="reflexd")
        self._ticks = self._register("/ticks", "reflexd/Tick", "ros2msg", tick_definition, "cdr")
        self._json = {
            topic: self._register(topic, str(schema["title"]), "jsonschema", json.dumps(schema), "json")
            for topic, schema in _JSON_TOPICS.items()
        }
        self._frames: dict[tuple[str, str], int] = {}
        self._qualities: dict[str, int] = {}
        self.add_metadata("reflexd", metadata)
        self.wall_minus_mono = time.time_ns() - time.monotonic_ns()
        """Wall time minus monotonic time, as the log times of this file have it, ns."""

    def add_ticks(self, records: NDArray[np.void]) -> None:
        """Write the records of ticks, shape (n,)."""
        content, size = records.tobytes(), records.itemsize
        for number, mono_ns in enumerate(records["mono_ns"].tolist()):
            self._add(self._ticks, mono_ns, _CDR_LITTLE_ENDIAN + content[number * size : (number + 1) * size])

    def add_message(self, topic: str, mono_ns: int, message: Mapping[str, Any]) -> None:
        """Write an event, a chunk or what was said of an episode."""
        self._add(self._json[topic], mono_ns, json.dumps(message).encode())

    def add_frame(self, camera: str, packet: Packet) -> None:
        """Write a frame and its statistics."""
        topic, mono_ns = f"/cameras/{camera}", packet.quality.mono_ns
        channel = self._frames.get((camera, packet.format))
        if channel is None:
            schema, definition = messages.schema(packet.format)
            channel = self._frames[camera, packet.format] = self._register(
                topic, schema, "ros2msg", definition, "cdr"
            )
        wall_ns = mono_ns + self.wall_minus_mono
        self._add(channel, mono_ns, messages.frame_message(camera, packet.format, wall_ns, packet.data))
        if camera not in self._qualities:
            self._qualities[camera] = self._register(
                f"{topic}/quality", "reflexd.FrameQuality", "jsonschema", messages.QUALITY_SCHEMA, "json"
            )
        self._add(self._qualities[camera], mono_ns, messages.quality_message(packet.quality))

    def flush(self) -> None:
        """Give the file all that was added, as a whole chunk."""
        self._writer.flush()  # type: ignore[no-untyped-call]

    def add_metadata(self, name: str, metadata: Mapping[str, str]) -> None:
        """Write a metadata record."""
        self._writer.add_metadata(name, dict(metadata))

    def finish(self) -> None:
        """Write the end of the file."""
        self._writer.finish()  # type: ignore[no-untyped-call]

    def _add(self, channel: int, mono_ns: int, data: bytes) -> None:
        """The log time is wall time, the publish time monotonic."""
        self._writer.add_message(channel, log_time=mono_ns + self.wall_minus_mono, publish_time=mono_ns, data=data)

    def _register(self, topic: str, name: str, encoding: str, schema: str, message_encoding: str) -> int:
        schema_id = self._writer.register_schema(name=name, encoding=encoding, data=schema.encode())
        return int(self._writer.register_channel(topic, message_encoding=message_encoding, schema_id=schema_id))
