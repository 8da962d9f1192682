"""Which segments are one episode, and which episodes are exported."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from runtime.recording.reader import Recording

BAD, DISCARDED = "bad", "discarded"


@dataclass(frozen=True, slots=True)
class Episode:
    """One attempt at a task: one or more whole segments. Without episodes each segment is one."""

    id: str
    """The episode's own, or the segment's name."""
    parts: tuple[Recording, ...]
    """Its segments, the oldest first."""
    about: dict[str, str]
    """What its last segment says of it, as MCAP metadata; empty for a segment that is in no episode."""

    @property
    def outcome(self) -> str:
        """`success`, `failure`, `discarded`; empty when nobody said so."""
        return self.about.get("outcome", "")

    @property
    def verdict(self) -> str:
        """`good` or `bad`; empty when it was not judged."""
        return self.about.get("verdict", "")

    def told(self, key: str) -> list[Any]:
        """A list that the segment keeps as JSON: `reasons`, `notes`, `interventions`."""
        found = json.loads(self.about.get(key) or "[]")
        return found if isinstance(found, list) else [found]

    @property
    def started_wall_ns(self) -> int:
        """Wall time of its start, ns since the epoch; of its first message when nobody said so."""
        return int(self.about.get("started_wall_ns") or 0) or self.parts[0].start_ns

    def bounds(self) -> tuple[int, int]:
        """CLOCK_MONOTONIC, ns, of its first and last moment as far as they are known."""
        return int(self.about.get("started_mono_ns") or 0), int(self.about.get("ended_mono_ns") or 0) or 2**63 - 1


def group(recordings: Sequence[Recording]) -> tuple[list[Episode], list[str]]:
    """The episodes of some segments, in the order of time, and what has to be said about them.

    Where there are episodes, segments outside of them are left out; where there are none, each segment is one.
    """
    parts: dict[tuple[str, str], list[Recording]] = {}
    outside = []
    for recording in recordings:
        if episode := recording.episode.get("id"):
            parts.setdefault((recording.about.get("robot", ""), episode), []).append(recording)
        else:
            outside.append(recording)
    if not parts:
        whole = [Episode(recording.name, (recording,), {}) for recording in outside]
        return whole, ["no episodes were recorded: each segment counts as one"] if whole else []
    remarks = [f"{len(outside)} segments outside of episodes are left out"] if outside else []
    episodes = []
    for (_, name), found in parts.items():
        found.sort(key=lambda recording: _part(recording))
        episodes.append(Episode(name, tuple(found), found[-1].episode))
        numbers = [_part(recording) for recording in found]
        if missing := sorted(set(range(numbers[0], numbers[-1])) - set(numbers)):
            remarks.append(f"episode {name}: part {', '.join(map(str, missing))} is not among the segments")
        if not episodes[-1].outcome:
            remarks.append(f"episode {name}: no outcome; it was cut off, or its last segment is not here")
    return episodes, remarks


def begun(episodes: Iterable[Episode], from_ns: int, to_ns: int) -> list[Episode]:
    """Those that begin between two wall times, ns since the epoch."""
    return [episode for episode in episodes if from_ns <= episode.started_wall_ns <= to_ns]


def touching(episodes: Iterable[Episode], from_ns: int, to_ns: int) -> list[Episode]:
    """Those with a message between two wall times, ns since the epoch, and of these only such segments."""
    found = []
    for episode in episodes:
        parts = tuple(part for part in episode.parts if part.end_ns >= from_ns and part.start_ns <= to_ns)
        if parts:
            found.append(replace(episode, parts=parts))
    return found


def choose(episodes: Iterable[Episode], name: str | None, everything: bool) -> tuple[list[Episode], list[str]]:
    """The episodes to export, and why others are left out. `name`: only this one; `everything`: bad ones too."""
    chosen, remarks = [], []
    for episode in episodes:
        if name is not None and name not in (episode.id, episode.about.get("number")):
            continue
        if episode.verdict == BAD and not everything:
            reasons = "; ".join(map(str, episode.told("reasons")))
            remarks.append(f"episode {episode.id} is left out, its verdict is bad: {reasons}; --all takes it")
        elif episode.outcome == DISCARDED and not everything:
            remarks.append(f"episode {episode.id} is left out, it was discarded; --all takes it")
        else:
            chosen.append(episode)
    return chosen, remarks


def _part(recording: Recording) -> int:
    return int(recording.episode.get("part") or 0)
