"""Recordings read again: what a segment says of itself, its ticks as an array, its messages as records."""

from __future__ import annotations

import json
import re
import struct
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import McapReader, make_reader
from numpy.typing import NDArray

from drivers.state import Floats
from runtime.spool.layout import KEEP, OPEN, SUFFIX

Records = NDArray[np.void]

CAMERAS = "/cameras/"
"""How the topics of the cameras' frames begin; the camera's name follows."""

_CDR_HEAD = 4
_FIELD = re.compile(r"(int64|float64|reflexd/Joint)(?:\[(\d+)\])? (\w+)")
_KINDS = {"int64": "<i8", "float64": "<f8"}


class RecordingError(Exception):
    """A file that is no whole recording of reflexd, or segments that do not belong together."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a JSON topic."""

    mono_ns: int
    """CLOCK_MONOTONIC, ns."""
    wall_ns: int
    """Wall time, ns since the epoch."""
    value: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedChunk:
    """An action chunk as it was laid over the plan."""

    about: dict[str, Any]
    """What was recorded with it: `t0_mono_ns`, `arrived_mono_ns`, `latency_s`, `by`, `seam_mono_ns`, `task` ..."""
    wall_ns: int
    """Wall time of its arrival, ns since the epoch."""
    actions: Floats
    """Raw output of the policy, shape (H, A)."""


class Recording:
    """A segment that is whole. Reading its head is cheap; ticks and messages are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        """Read what the file says of itself. Raises RecordingError."""
        self.path = path
        with self._open() as reader:
            summary = reader.get_summary()
            if summary is None or summary.statistics is None:
                raise McapError("it has no summary")
            found = {record.name: record.metadata for record in reader.iter_metadata()}
            counts = summary.statistics.channel_message_counts
            topics = {channel.topic: channel for channel in summary.channels.values()}
            schema = summary.schemas[topics["/ticks"].schema_id].data.decode()
        self.about: dict[str, str] = found["reflexd"]
        """Its metadata: `robot`, `config`, versions."""
        self.episode: dict[str, str] = found.get("episode", {})
        """The episode that it is part of; empty for none."""
        self.start_ns = summary.statistics.message_start_time
        """Wall time of its first message, ns since the epoch."""
        self.end_ns = summary.statistics.message_end_time
        """Wall time of its last message."""
        self.counts = {topic: counts.get(channel.id, 0) for topic, channel in topics.items()}
        """Messages of each topic."""
        self.schemas = {topic: summary.schemas.get(channel.schema_id) for topic, channel in topics.items()}
        """The MCAP schema of each topic."""
        self.layout, self._joints = parse(schema)
        """What a tick holds: its own fields, `joints` as an array of records, sensor fields, commands."""

    @property
    def name(self) -> str:
        """Its file's name without what is behind the first dot."""
        return self.path.name.removesuffix(SUFFIX).removesuffix(KEEP)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The robot's config. Raises RecordingError when it is no TOML."""
        try:
            return tomllib.loads(self.about["config"])
        except (KeyError, tomllib.TOMLDecodeError) as error:
            raise RecordingError(f"{self.path}: the robot's config in it cannot be read: {error}") from error

    @cached_property
    def joints(self) -> list[str]:
        """Names of the joints in the robot's order, as in its config."""
        named = [str(joint.get("name")) for joint in self.config.get("joint", [])]
        return named if [name.lower() for name in named] == self._joints else self._joints

    @property
    def cameras(self) -> list[str]:
        """Cameras of which it has frames."""
        topics = [topic.removeprefix(CAMERAS) for topic in sorted(self.counts) if topic.startswith(CAMERAS)]
        return [name for name in topics if "/" not in name and self.counts[CAMERAS + name]]

    def ticks(self) -> tuple[Records, NDArray[np.int64]]:
        """All ticks, shape (n,), with fields as in `layout`, and the wall time of each, ns."""
        content, walls = bytearray(), []
        with self._open() as reader:
            for _, _, message in reader.iter_messages(topics=["/ticks"], log_time_order=False):
                content += message.data[_CDR_HEAD:]
                walls.append(message.log_time)
            if len(content) != len(walls) * self.layout.itemsize:
                raise ValueError(f"found ticks of another size than {self.layout.itemsize} bytes")
        return np.frombuffer(content, self.layout), np.array(walls, np.int64)

    def messages(self, topic: str) -> Iterator[Message]:
        """All messages of a JSON topic, in the order in which they were written."""
        with self._open() as reader:
            for _, _, message in reader.iter_messages(topics=[topic], log_time_order=False):
                yield Message(message.publish_time, message.log_time, json.loads(message.data))

    def raw(self, topic: str) -> Iterator[tuple[int, bytes]]:
        """CLOCK_MONOTONIC (ns) and bytes of all messages of a topic, in the order in which they were written."""
        with self._open() as reader:
            for _, _, message in reader.iter_messages(topics=[topic], log_time_order=False):
                yield message.publish_time, message.data

    def chunks(self) -> list[RecordedChunk]:
        """All action chunks, in the order of their arrival. A long one comes in parts and is put together."""
        parts: list[tuple[Message, list[list[float]]]] = []
        for message in self.messages("/chunks"):
            if message.value["first"] == 0:
                parts.append((message, []))
            if parts:  # else its beginning is in the segment before
                parts[-1][1].extend(message.value.pop("actions"))
        return [RecordedChunk(about.value, about.wall_ns, np.array(rows, np.float64)) for about, rows in parts]

    @contextmanager
    def _open(self) -> Iterator[McapReader]:
        try:
            with self.path.open("rb") as file:
                yield make_reader(file)
        except OSError as error:
            raise RecordingError(f"{self.path}: cannot be read: {error.strerror or error}") from error
        except (McapError, KeyError, ValueError, struct.error) as error:
            raise RecordingError(
                f"{self.path}: found no whole recording of reflexd ({type(error).__name__}: {error}), expected a "
                "segment that is closed; the start of a daemon, or `mcap recover`, mends one that was cut off"
            ) from error


def parse(definition: str) -> tuple[np.dtype[np.void], list[str]]:
    """How a tick's bytes are laid out, by its ROS 2 message definition, and the joints' names in lower case.

    Every field is 8 bytes wide, so CDR has no padding: runtime/recording/trace.py. Raises ValueError.
    """
    own, *others = re.split(r"^=+$", definition, flags=re.M)
    joint = [
        (name, _KINDS[kind])
        for part in others
        if "MSG: reflexd/Joint" in part
        for kind, _, name in _fields(part.replace("MSG: reflexd/Joint", ""))
    ]
    fields: list[Any] = []
    joints: list[str] = []
    for kind, width, name in _fields(own):
        if kind in _KINDS:
            fields.append((name, _KINDS[kind], *([(int(width),)] if width else [])))
            continue
        if not joints:
            fields.append("joints")
        elif fields[-1] != "joints":
            raise ValueError(f"found joint {name} apart from the others")
        joints.append(name)
    whole = ("joints", np.dtype(joint), (len(joints),))
    return np.dtype([whole if field == "joints" else field for field in fields]), joints


def _fields(text: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        if (line := line.partition("#")[0].strip()) and not (match := _FIELD.fullmatch(line)):
            raise ValueError(f"found the field {line!r} in a tick, expected int64 or float64")
        if line and match:
            yield match[1], match[2] or "", match[3]


def find(words: Sequence[str], spool: Path) -> list[Recording]:
    """The recordings that are meant, in the order of their time. Raises RecordingError.

    A word is a file; a folder, of which every whole segment is taken; or the name of a segment in `spool`.
    """
    paths: dict[Path, None] = {}
    for word in words:
        path = Path(word)
        if path.is_dir():
            inside = [each for each in path.rglob(f"*{SUFFIX}") if each.parent.name != OPEN]
            if not inside:
                raise RecordingError(f"{path}: found no recording in this folder, expected files *{SUFFIX}")
        elif path.exists():
            inside = [path]
        else:
            named = [*spool.glob(f"*/*/{path.name}{SUFFIX}"), *spool.glob(f"*/*/{path.name}{KEEP}{SUFFIX}")]
            inside = named if path.name == word else []
            if not inside:
                raise RecordingError(
                    f"{word}: found no such file, and no segment of this name in {spool}; give a file, a folder, "
                    "or --spool with the folder recording.directory of the robot's config"
                )
        paths.update(dict.fromkeys(each.resolve() for each in inside))
    return sorted((Recording(path) for path in paths), key=lambda recording: recording.start_ns)


def join(recordings: Sequence[Recording]) -> tuple[Records, NDArray[np.int64]]:
    """The ticks of several segments, each tick once, and the wall time of each. Raises RecordingError.

    A recorder that died leaves up to `recording.sync` of ticks in two segments.
    """
    first = recordings[0]
    for other in recordings[1:]:
        if other.layout != first.layout:
            raise RecordingError(
                f"{other.path}: found ticks of another robot or config than in {first.path}, expected the same "
                "joints, sensors and commands; take them apart"
            )
    read = [recording.ticks() for recording in recordings]
    if len(read) == 1:
        return read[0]
    ticks, walls = np.concatenate([ticks for ticks, _ in read]), np.concatenate([walls for _, walls in read])
    _, once = np.unique(np.stack((ticks["mono_ns"], ticks["tick"])), axis=1, return_index=True)
    once.sort()
    return ticks[once], walls[once]


def column(ticks: Records, name: str) -> NDArray[Any]:
    """A field of the ticks; zeros where a recording of an older release has none. Shape (n,)."""
    return ticks[name] if name in (ticks.dtype.names or ()) else np.zeros(len(ticks), np.int64)
