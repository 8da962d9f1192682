"""A segment that was cut off becomes a whole MCAP file again: its intact part, then indexes and summary.

The intact part goes from the start of the file to the end of its last whole chunk. Not one byte of it is touched,
so a file that is cut off once more while it is being recovered is recovered like any other. What follows is built
from the intact part alone; it is what `mcap.writer.Writer.finish` would have written there.
https://mcap.dev/spec
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections import defaultdict
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

from mcap.data_stream import ReadDataStream, RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    Chunk,
    ChunkIndex,
    DataEnd,
    Footer,
    McapRecord,
    Message,
    MessageIndex,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)
from mcap.stream_reader import get_chunk_data_stream
from mcap.writer import MCAP0_MAGIC

from runtime.events import stops_robot
from runtime.recording.contract import INFO
from runtime.recording.episode import METADATA, recorded_kind
from runtime.spool.layout import Class

_HEAD = struct.Struct("<BQ")
"""A record: its opcode and the length of its body."""


@dataclass
class Recovered:
    """What is left of a segment."""

    messages: int
    cut: int
    """Bytes at its end that were no whole chunk."""
    kind: Class


def recover(file: BinaryIO) -> Recovered:
    """Make a file whole in place. Without a message in a whole chunk nothing is changed. Raises OSError.

    `file` is open for reading and writing; syncing it is the caller's business.
    """
    size = file.seek(0, os.SEEK_END)
    intact = _Intact()
    end = intact.read(file, size)
    count = intact.statistics.message_count
    if count == 0:
        return Recovered(0, size - end, Class.BULK)
    tail = intact.tail(end)
    file.seek(end)
    found = file.read(len(tail) + 1)
    if found != tail:
        file.truncate(end)
        file.seek(end)
        file.write(tail)
    return Recovered(count, 0 if tail.startswith(found) else size - end, intact.kind)


@dataclass
class _Intact:
    """The intact part of a file, as far as the summary tells of it."""

    kind: Class = Class.BULK
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    chunks: list[ChunkIndex] = field(default_factory=list)
    metadata: list[MetadataIndex] = field(default_factory=list)
    statistics: Statistics = field(default_factory=lambda: Statistics(0, 0, defaultdict(int), 0, 0, 0, 0, 0, 0))
    missing: bytes = b""
    """Message indexes of the last chunk that are not in the file."""

    def read(self, file: BinaryIO, size: int) -> int:
        """Read up to the first thing that is not whole; returns where the intact part ends."""
        file.seek(0)
        if file.read(len(MCAP0_MAGIC)) != MCAP0_MAGIC:
            return 0
        at = len(MCAP0_MAGIC)
        while at + _HEAD.size <= size:
            opcode, length = _HEAD.unpack(file.read(_HEAD.size))
            end: int = at + _HEAD.size + length
            if end > size or opcode not in (Opcode.HEADER, Opcode.METADATA, Opcode.CHUNK):
                break
            try:
                record = ReadDataStream(BytesIO(file.read(length)))
                if opcode == Opcode.METADATA:
                    metadata = Metadata.read(record)
                    self.metadata.append(MetadataIndex(at, end - at, metadata.name))
                    if metadata.name == METADATA and self.kind != Class.SAFETY:
                        self.kind = recorded_kind(metadata.metadata)
                    self.statistics.metadata_count += 1
                elif opcode == Opcode.CHUNK:
                    indexes = self._add_chunk(Chunk.read(record), at, end)
                    at = end
                    if file.read(len(indexes)) != indexes:
                        self.missing = indexes
                        break
                    end += len(indexes)
            except Exception:  # bytes that are no record make the decoders raise anything
                break
            at = end
        return at

    def _add_chunk(self, chunk: Chunk, start: int, end: int) -> bytes:
        """Take a chunk in, all of it or, when it is damaged, nothing. Returns the message indexes behind it."""
        stream, length = get_chunk_data_stream(chunk, validate_crc=True)
        indexes: dict[int, MessageIndex] = {}
        found: list[McapRecord] = []
        while stream.count < length:
            at = stream.count
            opcode, size = _HEAD.unpack(stream.read(_HEAD.size))
            if opcode == Opcode.MESSAGE:
                message = Message.read(stream, size)
                found.append(message)
                indexes.setdefault(message.channel_id, MessageIndex(message.channel_id, [])).records.append(
                    (message.log_time, at)
                )
            elif opcode in (Opcode.CHANNEL, Opcode.SCHEMA):
                found.append((Channel if opcode == Opcode.CHANNEL else Schema).read(stream))
            else:
                raise ValueError(f"a chunk with a record of type {opcode}")
        channels = self.channels | {item.id: item for item in found if isinstance(item, Channel)}
        events = [item.data for item in found if isinstance(item, Message) and _is_event(item, channels)]
        if any(_stops(event) for event in events):
            self.kind = Class.SAFETY
        times = [item.log_time for item in found if isinstance(item, Message)]
        if (chunk.message_start_time, chunk.message_end_time) != (min(times), max(times)):
            raise ValueError("a chunk with other times than its messages")  # the checksum covers only these
        for item in found:
            self._add(item)
        builder = RecordBuilder()
        offsets = {}
        for channel, index in indexes.items():
            offsets[channel] = end + builder.count
            index.write(builder)
        written = _bytes(builder)
        self.statistics.chunk_count += 1
        self.chunks.append(
            ChunkIndex(
                chunk_length=end - start,
                chunk_start_offset=start,
                compression=chunk.compression,
                compressed_size=len(chunk.data),
                message_end_time=chunk.message_end_time,
                message_index_length=len(written),
                message_index_offsets=offsets,
                message_start_time=chunk.message_start_time,
                uncompressed_size=chunk.uncompressed_size,
            )
        )
        return written

    def _add(self, record: McapRecord) -> None:
        told = self.statistics
        match record:
            case Schema():
                self.schemas[record.id] = record
                told.schema_count = len(self.schemas)
            case Channel():
                self.channels[record.id] = record
                told.channel_count = len(self.channels)
            case Message():
                first = told.message_start_time if told.message_count else record.log_time
                told.message_start_time = min(first, record.log_time)
                told.message_end_time = max(told.message_end_time, record.log_time)
                told.channel_message_counts[record.channel_id] += 1
                told.message_count += 1

    def tail(self, at: int) -> bytes:
        """Everything that follows the intact part, which ends at `at`."""
        body = RecordBuilder()
        DataEnd(0).write(body)
        body_bytes = self.missing + _bytes(body)
        start = at + len(body_bytes)
        summary = RecordBuilder()
        groups: list[tuple[Opcode, list[McapRecord]]] = [
            (Opcode.SCHEMA, [*self.schemas.values()]),
            (Opcode.CHANNEL, [*self.channels.values()]),
            (Opcode.STATISTICS, [self.statistics]),
            (Opcode.CHUNK_INDEX, [*self.chunks]),
            (Opcode.ATTACHMENT_INDEX, []),
            (Opcode.METADATA_INDEX, [*self.metadata]),
        ]
        offsets = []
        for opcode, records in groups:
            first = summary.count
            for record in records:
                record.write(summary)
            offsets.append(SummaryOffset(opcode, start + first, summary.count - first))
        offsets_start = start + summary.count
        for offset in offsets:
            offset.write(summary)
        summary_bytes = _bytes(summary)
        # The checksum covers the summary and the footer up to the checksum itself.
        footer_head = struct.pack("<BQQQ", Opcode.FOOTER, 8 + 8 + 4, start, offsets_start)
        footer = RecordBuilder()
        Footer(
            summary_start=start,
            summary_offset_start=offsets_start,
            summary_crc=zlib.crc32(footer_head, zlib.crc32(summary_bytes)),
        ).write(footer)
        footer_bytes = _bytes(footer)
        return body_bytes + summary_bytes + footer_bytes + MCAP0_MAGIC


def _bytes(builder: RecordBuilder) -> bytes:
    return bytes(builder.end())  # type: ignore[no-untyped-call]


def _is_event(message: Message, channels: dict[int, Channel]) -> bool:
    return channels[message.channel_id].topic == "/events"


def _stops(event: bytes) -> bool:
    told = json.loads(event)
    return stops_robot(told["name"], told["level"] > INFO)
