"""Small segments, and what is left of them."""

from __future__ import annotations

import json
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from mcap.reader import make_reader

from runtime.recording.segment import Segment
from runtime.recording.trace import TraceLayout

LAYOUT = TraceLayout(["a"], {}, [])
MS = 1_000_000
DONE = {"level": 2, "name": "robot.stopped", "message": "done"}
STOP = {"level": 4, "name": "safety.torque_off", "message": "pressed"}


def ticks(first: int, count: int) -> Any:
    left = np.zeros((count, LAYOUT.words), np.int64)
    left[:, 0] = range(first, first + count)
    left[:, 1] = left[:, 0] * MS
    return LAYOUT.records(left)


def make_segment(chunks: int = 3, each: int = 4, stop_in: int | None = None) -> tuple[bytes, list[int]]:
    """A whole segment, and where each of its chunks ends, with its message indexes."""
    file = BytesIO()
    ends = []
    segment = Segment(file, LAYOUT.definition, {"robot": "r"})
    segment.wall_minus_mono = 0  # the same bytes every time
    for chunk in range(chunks):
        segment.add_ticks(ticks(chunk * each, each))
        segment.add_message("/events", chunk * each * MS, STOP if chunk == stop_in else DONE)
        segment.flush()
        ends.append(file.tell())
    segment.finish()
    return file.getvalue(), ends


def numbers(data: bytes) -> list[int]:
    """The ticks that a reader finds through the summary of a whole file."""
    reader = make_reader(BytesIO(data), validate_crcs=True)
    summary = reader.get_summary()
    assert summary is not None
    assert summary.statistics is not None
    messages = list(reader.iter_messages())
    assert summary.statistics.message_count == len(messages)
    return [int.from_bytes(m.data[4:12], "little") for _, channel, m in messages if channel.topic == "/ticks"]


def events(path: Path) -> list[str]:
    with path.open("rb") as file:
        return [json.loads(m.data)["name"] for _, _, m in make_reader(file).iter_messages(topics=["/events"])]


def tree(root: Path) -> dict[str, int]:
    """Every segment of a spool with its size."""
    found = {}
    for path in sorted(root.rglob("*")):
        with suppress(FileNotFoundError):  # it moves while we look
            if path.is_file() and not path.name.startswith("index.sqlite"):
                found[str(path.relative_to(root))] = path.stat().st_size
    return found
