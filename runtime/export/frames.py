"""An episode as frames at a fixed rate: for each nominal moment the nearest sample, and its own time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.state import Ints
from runtime.control.modes import Mode
from runtime.export.episodes import Episode
from runtime.export.errors import ExportError
from runtime.recording.reader import CAMERAS, Records, column, join

Column = NDArray[Any]


@dataclass(slots=True)
class Frames:
    """The frames of one episode."""

    columns: dict[str, Column]
    """By name, shape (n,) or (n, width)."""
    tasks: list[str]
    """The task of each frame in words, n of them."""
    images: dict[str, Ints] = field(default_factory=dict)
    """By camera: which of its recorded frames, counted through all segments, each frame shows; shape (n,)."""

    def __len__(self) -> int:
        return len(self.tasks)


def frames(episode: Episode, fps: int) -> Frames:
    """All frames of an episode, `fps` of them a second. Raises RecordingError, ExportError."""
    ticks, walls = join(episode.parts)
    joints = ticks["joints"]
    begin_ns, end_ns = episode.bounds()
    here = (ticks["mono_ns"] >= begin_ns) & (ticks["mono_ns"] <= end_ns)
    here &= np.isfinite(joints["position"]).all(axis=1)  # no joint is without a reading but at the start
    if not here.any():
        raise ExportError(f"episode {episode.id}: found no tick with the positions of all joints")
    ticks, walls = ticks[here], walls[here]
    start_ns, last_ns = int(ticks["mono_ns"][0]), int(ticks["mono_ns"][-1])
    count = (last_ns - start_ns) * fps // 10**9 + 1
    moments = start_ns + np.arange(count) * 10**9 // fps
    chosen = nearest(ticks["mono_ns"], moments)
    found = Frames(_columns(ticks[chosen], walls[chosen], episode), _tasks(episode, moments))
    for camera in sorted({name for part in episode.parts for name in part.cameras}):
        parts = [part for part in episode.parts if camera in part.cameras]
        times = np.array([mono_ns for part in parts for mono_ns, _ in part.raw(CAMERAS + camera)], np.int64)
        # A recorder that died may have left some frames twice.
        found.images[camera] = nearest(np.maximum.accumulate(times), moments)
        found.columns[f"camera.{camera}.mono_ns"] = times[found.images[camera]]
    return found


def nearest(times: Ints, moments: Ints) -> Ints:
    """For each moment the index of the time that is nearest to it. `times`: ascending, at least one."""
    right = np.searchsorted(times, moments).clip(0, len(times) - 1)
    left = np.maximum(right - 1, 0)
    return np.where(np.abs(moments - times[left]) <= np.abs(times[right] - moments), left, right)


def _columns(ticks: Records, walls: Ints, episode: Episode) -> dict[str, Column]:
    joints = ticks["joints"]
    commanded = ticks["gate"] == 1
    intervention = column(ticks, "intervention") == 1
    if "intervention" not in (ticks.dtype.names or ()):
        intervention = (ticks["mode"] == Mode.MANUAL) & np.bool_(np.any(ticks["mode"] == Mode.AUTO))
    names = list(ticks.dtype.names or ())
    return {
        "observation.state": joints["position"].astype(np.float32),
        # Where no motor is commanded the last command says nothing of what the robot does.
        "action": np.where(commanded[:, None], joints["command"], joints["position"]).astype(np.float32),
        "plan": np.where(commanded[:, None], joints["plan"], joints["position"]).astype(np.float32),
        "velocity": joints["velocity"].astype(np.float32),
        "commanded": commanded.astype(np.int64),
        "intervention": intervention.astype(np.int64),
        "outcome": np.full(len(ticks), episode.outcome, dtype=object),
        "mono_ns": ticks["mono_ns"].astype(np.int64),
        "wall_ns": walls,
        "measured_mono_ns": ticks["mono_ns"][:, None] - (joints["age_s"] * 1e9).round().astype(np.int64),
        **{f"tick.{name}": ticks[name].astype(np.float32) for name in names[names.index("joints") + 1 :]},
    }


def _tasks(episode: Episode, moments: Ints) -> list[str]:
    """The task at each moment: that of the last chunk before it, else the episode's."""
    first = episode.about.get("prompt") or episode.about.get("task") or ""
    changes: list[tuple[int, str]] = [(0, first)]
    for part in episode.parts:
        if "/chunks" in part.counts:
            for message in part.messages("/chunks"):
                said = message.value["prompt"] or message.value["task"] or first
                if said != changes[-1][1]:
                    changes.append((message.value["arrived_mono_ns"], said))
    times = np.array([at_ns for at_ns, _ in changes], np.int64)
    places = np.searchsorted(times, moments, side="right") - 1
    return [changes[max(place, 0)][1] for place in places]


def joint_names(episodes: Sequence[Episode]) -> list[str]:
    """Names of the joints, the same in all episodes. Raises ExportError."""
    first = episodes[0].parts[0]
    for episode in episodes:
        for part in episode.parts:
            if part.joints != first.joints or part.layout != first.layout:
                raise ExportError(
                    f"{part.path}: found another robot or config than in {first.path}, expected the same joints, "
                    "sensors and commands in all episodes of a data set; export them apart"
                )
    return first.joints
