"""Plain Parquet tables of recordings: ticks, events, chunks, episodes (extra `export`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from runtime.export.episodes import Episode
from runtime.export.errors import ExportError
from runtime.recording.reader import Recording, Records

_MESSAGES = {
    "events": pa.schema(
        [
            ("episode_id", pa.string()),
            ("segment", pa.string()),
            ("mono_ns", pa.int64()),
            ("wall_ns", pa.int64()),
            ("level", pa.int64()),
            ("name", pa.string()),
            ("message", pa.string()),
            ("fields", pa.string()),
        ]
    ),
    "chunks": pa.schema(
        [
            ("episode_id", pa.string()),
            ("segment", pa.string()),
            ("wall_ns", pa.int64()),
            *((name, pa.int64()) for name in ("t0_mono_ns", "arrived_mono_ns", "seam_mono_ns")),
            *((name, pa.float64()) for name in ("latency_s", "seam_before_rad", "seam_after_rad", "seam_fade_s")),
            *((name, pa.string()) for name in ("by", "seam", "task", "prompt")),
            ("task_id", pa.float64()),
            ("actions", pa.list_(pa.list_(pa.float64()))),
        ]
    ),
}
_EPISODES = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "robot", "task", "prompt", "outcome", "verdict")),
        *((name, pa.string()) for name in ("reasons", "notes", "interventions")),
        *((name, pa.int64()) for name in ("started_wall_ns", "ended_wall_ns")),
        ("segments", pa.list_(pa.string())),
    ]
)


def write(folder: Path, episodes: Sequence[Episode], from_ns: int, to_ns: int) -> dict[str, int]:
    """Write `ticks.parquet`, `events.parquet`, `chunks.parquet` and `episodes.parquet`. Returns the rows of each.

    Of the first three only what lies between two wall times, ns since the epoch; a row group of theirs is one
    segment. Raises OSError, RecordingError, ExportError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [(episode, part) for episode in episodes for part in episode.parts]
    counts = {"ticks": _write_ticks(folder / "ticks.parquet", parts, from_ns, to_ns)}
    for name, schema in _MESSAGES.items():
        counts[name] = 0
        with pq.ParquetWriter(folder / f"{name}.parquet", schema) as writer:
            for episode, part in parts:
                found = _events(part) if name == "events" else _chunks(part)
                rows = [row for row in found if from_ns <= row["wall_ns"] <= to_ns]
                whose = {"episode_id": episode.id, "segment": part.name}
                writer.write_table(pa.Table.from_pylist([{**whose, **row} for row in rows], schema))
                counts[name] += len(rows)
    rows = [_row(episode) for episode in episodes]
    pq.write_table(pa.Table.from_pylist(rows, _EPISODES), folder / "episodes.parquet")
    return {**counts, "episodes": len(rows)}


def _write_ticks(path: Path, parts: Sequence[tuple[Episode, Recording]], from_ns: int, to_ns: int) -> int:
    writer: pq.ParquetWriter | None = None
    count = 0
    before: Any = ()
    try:
        for episode, part in parts:
            ticks, walls = part.ticks()
            once = ~np.isin(ticks["mono_ns"], before)  # a recorder that died leaves some in two segments
            before, once = ticks["mono_ns"], once & (walls >= from_ns) & (walls <= to_ns)
            ticks, walls = ticks[once], walls[once]
            table = pa.table(
                {
                    "episode_id": _same(episode.id, len(ticks)),
                    "segment": _same(part.name, len(ticks)),
                    "wall_ns": walls,
                    **_columns(ticks, part.joints),
                }
            )
            writer = writer or pq.ParquetWriter(path, table.schema)
            if table.schema != writer.schema:
                raise ExportError(
                    f"{part.path}: found another robot or config than in {parts[0][1].path}, expected the same "
                    "joints, sensors and commands in all segments of a table; export them apart"
                )
            writer.write_table(table)
            count += len(ticks)
    finally:
        if writer is not None:
            writer.close()
    return count


def _columns(ticks: Records, joints: Sequence[str]) -> dict[str, Any]:
    """A column for each value: `tick`, `elbow.position`, `imu_gyro` as a list."""
    found: dict[str, Any] = {}
    for name in ticks.dtype.names or ():
        if name != "joints":
            values = np.ascontiguousarray(ticks[name])
            if values.ndim == 2:
                values = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
            found[name] = values
            continue
        for number, joint in enumerate(joints):
            one = ticks["joints"][:, number]
            found.update({f"{joint}.{each}": np.ascontiguousarray(one[each]) for each in one.dtype.names or ()})
    return found


def _same(text: str, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))


def _events(part: Recording) -> Iterator[dict[str, Any]]:
    for message in part.messages("/events"):
        value = message.value
        about = {key: value[key] for key in ("mono_ns", "level", "name", "message")}
        yield {**about, "wall_ns": message.wall_ns, "fields": json.dumps(value["fields"])}


def _chunks(part: Recording) -> Iterator[dict[str, Any]]:
    for chunk in part.chunks():
        yield {**chunk.about, "wall_ns": chunk.wall_ns, "actions": chunk.actions.tolist()}


def _row(episode: Episode) -> dict[str, Any]:
    about, parts = episode.about, episode.parts
    return {
        **{key: about.get(key, "") for key in ("task", "prompt", "outcome", "verdict")},
        **{key: about.get(key) or "[]" for key in ("reasons", "notes", "interventions")},
        "id": episode.id,
        "robot": parts[0].about.get("robot", ""),
        "started_wall_ns": episode.started_wall_ns,
        "ended_wall_ns": int(about.get("ended_wall_ns") or 0) or parts[-1].end_ns,
        "segments": [part.name for part in parts],
    }
