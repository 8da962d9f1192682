"""Reads what is left of a recording."""

from __future__ import annotations

from pathlib import Path

from mcap.exceptions import EndOfFile
from mcap.records import Chunk, Message
from mcap.stream_reader import StreamReader, breakup_chunk


def times(path: Path) -> list[int]:
    """When the messages in the whole chunks of a file were published (CLOCK_MONOTONIC, ns), cut off or not.

    Raises what the reader raises when something else is wrong than the end.
    """
    found: list[int] = []
    with path.open("rb") as file:
        try:
            for record in StreamReader(file, emit_chunks=True).records:
                if isinstance(record, Chunk):
                    inside = breakup_chunk(record, validate_crc=True)
                    found += [message.publish_time for message in inside if isinstance(message, Message)]
        except EndOfFile:
            pass
    return found
