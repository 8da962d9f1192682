"""A LeRobotDataset of version 3.0, written with pyarrow and PyAV (extra `export`).

Its files, columns and keys are those that `lerobot` 0.6 reads: data and episodes in Parquet, one MP4 with many
episodes for each camera, `meta/info.json` last, so that nothing reads half a data set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from runtime.export import statistics
from runtime.export.episodes import Episode
from runtime.export.frames import Column, Frames
from runtime.export.statistics import Stats
from runtime.export.video import VideoFile, decode, select

VERSION = "v3.0"
_FILES_IN_FOLDER = 1000
_DATA_BYTES, _VIDEO_BYTES = 100 * 2**20, 200 * 2**20
"""A file that has grown so large is followed by another."""
_SAMPLES = 100
"""Frames of a camera and episode that count in the statistics."""
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
_DATA = f"data/{_FILE}.parquet"
_VIDEO = f"videos/{{video_key}}/{_FILE}.mp4"
_EPISODES = f"meta/episodes/{_FILE}.parquet"
_JOINTS = ("observation.state", "action", "plan", "velocity", "measured_mono_ns")


class Dataset:
    """A data set in a folder of its own, written episode by episode."""

    def __init__(self, folder: Path, robot: str, fps: int, joints: list[str], cameras: list[str]) -> None:
        self._folder = folder
        self._robot = robot
        self._fps = fps
        self._joints = joints
        self._data: pq.ParquetWriter | None = None
        self._place = 0
        """Number of the data file."""
        self._cameras = {camera: _Camera(folder, camera, fps) for camera in cameras}
        self._features: dict[str, dict[str, Any]] = {}
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []
        """What `meta/episodes` says of each episode."""
        self._stats: list[dict[str, Stats]] = []
        self.frames = 0
        """Frames so far."""

    def add(self, episode: Episode, frames: Frames) -> None:
        """Write an episode. Raises OSError, RecordingError."""
        number, count = len(self._rows), len(frames)
        tasks = [self._tasks.setdefault(task, len(self._tasks)) for task in frames.tasks]
        columns = {
            **{key: _flat(values) for key, values in frames.columns.items()},
            "timestamp": (np.arange(count) / self._fps).astype(np.float32),
            "frame_index": np.arange(count),
            "episode_index": np.full(count, number),
            "index": self.frames + np.arange(count),
            "task_index": np.array(tasks, np.int64),
        }
        place = self._write(pa.table({key: _array(values) for key, values in columns.items()}))
        found = {key: statistics.of_column(values) for key, values in columns.items() if values.dtype != object}
        stats = {key: value for key, value in found.items() if value is not None}
        about: dict[str, Any] = {}
        for name, camera in self._cameras.items():
            stats[camera.key], told = camera.add(episode, frames.images[name])
            about.update(told)
        self._features = {key: self._feature(key, values) for key, values in columns.items()}
        self._stats.append(stats)
        self._rows.append(
            {
                "episode_index": number,
                "tasks": list(dict.fromkeys(frames.tasks)),
                "length": count,
                "data/chunk_index": place["chunk_index"],
                "data/file_index": place["file_index"],
                "dataset_from_index": self.frames,
                "dataset_to_index": self.frames + count,
                "meta/episodes/chunk_index": 0,
                "meta/episodes/file_index": 0,
                **about,
                **_own(episode, frames),
            }
        )
        self.frames += count

    def close(self) -> None:
        """Write what is told of all episodes together. Raises OSError."""
        if self._data is not None:
            self._data.close()
        for camera in self._cameras.values():
            camera.close()
        self._write_tasks()
        self._write_episodes()
        merged = {key: statistics.merge([s[key] for s in self._stats if key in s]) for key in self._stats[0]}
        _write_json(
            self._folder / "meta/stats.json",
            {key: {name: value.tolist() for name, value in stats.items()} for key, stats in merged.items()},
        )
        info = {
            "codebase_version": VERSION,
            "robot_type": self._robot,
            "total_episodes": len(self._rows),
            "total_frames": self.frames,
            "total_tasks": len(self._tasks),
            "chunks_size": _FILES_IN_FOLDER,
            "data_files_size_in_mb": _DATA_BYTES // 2**20,
            "video_files_size_in_mb": _VIDEO_BYTES // 2**20,
            "fps": self._fps,
            "splits": {"train": f"0:{len(self._rows)}"},
            "data_path": _DATA,
            "video_path": _VIDEO if self._cameras else None,
            "features": {**self._features, **{camera.key: camera.feature for camera in self._cameras.values()}},
        }
        _write_json(self._folder / "meta/info.json", info)

    def _write(self, table: pa.Table) -> dict[str, int]:
        """Write the rows of an episode. Returns the file where they are."""
        path = self._folder / _DATA.format(**_place(self._place))
        if self._data is not None and path.stat().st_size >= _DATA_BYTES:
            self._data.close()
            self._data = None
            self._place += 1
            path = self._folder / _DATA.format(**_place(self._place))
        if self._data is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._data = pq.ParquetWriter(path, table.schema)
        self._data.write_table(table)
        return _place(self._place)

    def _feature(self, key: str, values: Column) -> dict[str, Any]:
        names = self._joints if key in _JOINTS else None
        kind = "string" if values.dtype == object else str(values.dtype)
        return {"dtype": kind, "shape": list(values.shape[1:]) or [1], "names": names}

    def _write_tasks(self) -> None:
        table = pa.table({"task": list(self._tasks), "task_index": list(self._tasks.values())})
        path = self._folder / "meta/tasks.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(_PANDAS)}), path)

    def _write_episodes(self) -> None:
        rows = []
        for row, stats in zip(self._rows, self._stats, strict=True):
            figures = {
                f"stats/{key}/{name}": value for key, found in stats.items() for name, value in found.items()
            }
            rows.append({**row, **{key: value.tolist() for key, value in figures.items()}})
        path = self._folder / _EPISODES.format(**_place(0))
        path.parent.mkdir(parents=True, exist_ok=True)
        names = list(dict.fromkeys(key for row in rows for key in row))
        texts = pa.list_(pa.string())
        table = pa.table(
            {name: pa.array([row.get(name) for row in rows], texts if name in _LISTS else None) for name in names}
        )
        pq.write_table(table, path)


class _Camera:
    """The videos of one camera: many episodes behind one another in a file."""

    def __init__(self, folder: Path, name: str, fps: int) -> None:
        self.key = f"observation.images.{name}"
        self.feature: dict[str, Any] = {}
        """What `meta/info.json` says of it; known after the first episode."""
        self._folder = folder
        self._name = name
        self._fps = fps
        self._file: VideoFile | None = None
        self._place = -1
        self._size = (0, 0)

    def add(self, episode: Episode, numbers: NDArray[np.int64]) -> tuple[Stats, dict[str, Any]]:
        """Write an episode's frames. Returns their statistics, and where they are."""
        if self._file is not None and self._file.bytes >= _VIDEO_BYTES:
            self.close()
        first = self._file.count if self._file is not None else 0
        every = -(-len(numbers) // _SAMPLES)
        levels, samples = np.zeros((3, 256), np.int64), 0
        for place, frame in enumerate(select(decode(episode.parts, self._name), numbers)):
            if self._file is None:
                self._begin(frame.width, frame.height)
            assert self._file is not None
            self._file.add(frame)
            if place % every == 0:
                levels += statistics.levels(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
                samples += 1
        where: dict[str, Any] = {f"videos/{self.key}/{name}": value for name, value in _place(self._place).items()}
        times = {"from_timestamp": first / self._fps, "to_timestamp": (first + len(numbers)) / self._fps}
        where.update({f"videos/{self.key}/{name}": value for name, value in times.items()})
        return statistics.of_images(levels, samples), where

    def close(self) -> None:
        """The next episode gets another file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self, width: int, height: int) -> None:
        self._place += 1
        self._size = self._size if any(self._size) else (width // 2 * 2, height // 2 * 2)
        path = self._folder / _VIDEO.format(video_key=self.key, **_place(self._place))
        self._file = VideoFile(path, *self._size, self._fps)
        self.feature = {
            "dtype": "video",
            "shape": [self._size[1], self._size[0], 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": self._size[1],
                "video.width": self._size[0],
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.fps": self._fps,
                "video.channels": 3,
                "is_depth_map": False,
                "has_audio": False,
            },
        }


_LISTS = ("tasks", "reasons", "notes", "segments")


def _own(episode: Episode, frames: Frames) -> dict[str, Any]:
    """What LeRobot does not know of an episode: for its `episode_filter`."""
    return {
        "episode_id": episode.id,
        "outcome": episode.outcome,
        "verdict": episode.verdict,
        "reasons": [str(each) for each in episode.told("reasons")],
        "notes": [each if isinstance(each, str) else json.dumps(each) for each in episode.told("notes")],
        "interventions": int((np.diff(frames.columns["intervention"], prepend=0) == 1).sum()),
        "started_wall_ns": int(frames.columns["wall_ns"][0]),
        "segments": [part.name for part in episode.parts],
    }


def _place(number: int) -> dict[str, int]:
    return {"chunk_index": number // _FILES_IN_FOLDER, "file_index": number % _FILES_IN_FOLDER}


def _flat(values: Column) -> Column:
    """One value in a row is a number and not a list, as LeRobot has it."""
    return values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values


def _array(values: Column) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=4))


def _pandas(name: str, kind: str, numpy_type: str) -> dict[str, Any]:
    return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}


# LeRobot reads the tasks with pandas and takes the index for their words.
_PANDAS = {
    "index_columns": ["task"],
    "column_indexes": [],
    "columns": [_pandas("task_index", "int64", "int64"), _pandas("task", "unicode", "object")],
    "pandas_version": "2.0.0",
}
