"""Segments joined, or a part of them cut out, as one MCAP file that is a recording like any other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from mcap.reader import make_reader
from mcap.records import Channel, Message, Schema
from mcap.writer import CompressionType, Writer

from runtime.recording.reader import CAMERAS, Recording

_CHUNK_BYTES = 1024 * 1024
_HEAD_BYTES = 512
"""The parameter sets of a frame lie in its first bytes."""
_Found = tuple[Schema | None, Channel, Message]


def write(path: Path, recordings: Sequence[Recording], from_ns: int = 0, to_ns: int = 2**63 - 1) -> int:
    """Write all messages from `from_ns` to `to_ns` (wall time, ns) into one file, unchanged. Returns how many.

    Cameras begin at the key frame before, which the first of their frames needs. A tick that lies in two segments
    is written once. Metadata are those of the last
    segment. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    channels: dict[tuple[str, bytes], int] = {}
    ticks: dict[bytes, None] = {}
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=_CHUNK_BYTES, compression=CompressionType.ZSTD)
        writer.start(profile="", library="reflexd")
        for schema, channel, message in _messages(recordings, from_ns, to_ns):
            if channel.topic == "/ticks":
                before = len(ticks)
                ticks.setdefault(message.data[:20])  # its number and time
                if len(ticks) == before:
                    continue
            about = (channel.topic, schema.data if schema else b"")
            if about not in channels:
                schema_id = writer.register_schema(schema.name, schema.encoding, schema.data) if schema else 0
                channels[about] = writer.register_channel(
                    channel.topic, channel.message_encoding, schema_id, dict(channel.metadata)
                )
            writer.add_message(
                channels[about], message.log_time, message.data, message.publish_time, message.sequence
            )
            count += 1
        writer.add_metadata("reflexd", {**recordings[-1].about, "cut_from": ", ".join(r.name for r in recordings)})
        if len({recording.episode.get("id") for recording in recordings}) == 1 and recordings[-1].episode:
            writer.add_metadata("episode", recordings[-1].episode)
        writer.finish()  # type: ignore[no-untyped-call]
    return count


def _messages(recordings: Sequence[Recording], from_ns: int, to_ns: int) -> Iterator[_Found]:
    waiting: dict[str, deque[_Found]] = {}
    """Frames of each camera since the last key frame before the cut."""
    for recording in recordings:
        if recording.end_ns < from_ns or recording.start_ns > to_ns:
            continue
        with recording.path.open("rb") as file:
            # In the order of the file: parts of a long chunk have all the same time.
            for found in make_reader(file).iter_messages(log_time_order=False):
                schema, channel, message = found
                camera = channel.topic.startswith(CAMERAS) and "/" not in channel.topic.removeprefix(CAMERAS)
                if message.log_time > to_ns:
                    continue
                if message.log_time >= from_ns:
                    yield from waiting.pop(channel.topic, ())
                    yield found
                elif camera:
                    frames = waiting.setdefault(channel.topic, deque())
                    if is_key(schema, message.data):
                        frames.clear()
                    frames.append(found)


def is_key(schema: Schema | None, data: bytes) -> bool:
    """Whether a recorded frame needs no other: a JPEG, or one with the parameter sets of H.264 or H.265."""
    if schema is None or not schema.name.endswith("CompressedVideo"):
        return True
    newer = b"h265" in data[-16:]  # the format is the last field of the message
    at = data.find(b"\x00\x00\x01", 0, _HEAD_BYTES)
    while 0 <= at < len(data) - 3:
        unit = data[at + 3]
        # VPS and SPS of H.265; SPS, or slice of an IDR picture, of H.264: table 7-1 of either recommendation.
        if (unit >> 1) & 0x3F in (32, 33) if newer else unit & 0x1F in (5, 7):
            return True
        at = data.find(b"\x00\x00\x01", at + 3, _HEAD_BYTES)
    return False
