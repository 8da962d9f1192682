"""Reads what is left of a recording."""

from __future__ import annotations

from pathlib import Path

from mcap.exceptions import EndOfFile
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from mcap.records import Chunk, Message
from mcap.stream_reader import breakup_chunk


def ticks(path: Path) -> list[int]:
    """Publish times (CLOCK_MONOTONIC, ns) of all ticks in the whole chunks of a file, cut off or not.

    Raises what the reader raises when something else is wrong than the end.
    """
    found: list[int] = []
    tick_channels: set[int] = set()
    with path.open("rb") as file:
        records = StreamReader(file, emit_chunks=True, validate_crcs=True).records
        try:
            for record in records:
                if isinstance(record, Chunk):
                    for inner in breakup_chunk(record, validate_crc=True):
                        if isinstance(inner, Message):
                            found.append(inner.publish_time)
        except EndOfFile:
            pass
    return found
