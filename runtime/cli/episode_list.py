"""`reflexctl episode list`: the episodes of which this machine has segments. Needs no daemon."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.records import Chunk, Metadata
from mcap.stream_reader import StreamReader

from runtime.cli.reflexctl_output import as_json, table
from runtime.config.paths import state_directory
from runtime.recording.episode import METADATA
from runtime.recording.reader import Recording, RecordingError
from runtime.spool.layout import KEEP, OPEN, SUFFIX, State


@dataclass(frozen=True, slots=True)
class Part:
    """A segment of an episode."""

    name: str
    state: str
    """Its folder: `open`, `ready` or `sent`."""
    kind: str | None
    """Its class; None for one in `open`."""
    about: Mapping[str, str]
    """What it says of the episode, as MCAP metadata."""


def episode_list(args: argparse.Namespace) -> int:
    """Returns the exit code: 0 done; 1 there is no such folder, or a file in it cannot be read."""
    root = args.spool or state_directory() / "recordings"
    if not root.is_dir():
        expected = "--spool with the folder recording.directory of the robot's config"
        print(f"reflexctl episode list: {root}: found no such folder, expected {expected}", file=sys.stderr)
        return 1
    parts, troubles = scan(root)
    for trouble in troubles:
        print(f"reflexctl episode list: {trouble}", file=sys.stderr)
    found = episodes(parts)
    print(as_json(found) if args.json else table([_row(episode) for episode in found]))
    return 1 if troubles else 0


def scan(root: Path) -> tuple[list[Part], list[str]]:
    """All segments of episodes in a spool, and what is wrong with others."""
    found: dict[str, Part] = {}
    troubles: dict[str, str] = {}
    for state, path in _paths(root):
        name = path.name.removesuffix(SUFFIX).removesuffix(KEEP)
        try:
            about = _head(path) if state == OPEN else Recording(path).episode
        except (OSError, RecordingError) as error:
            if path.exists():  # else it has gone on meanwhile, or was deleted
                troubles[name] = str(error)
            continue
        if about:
            found[name] = Part(name, state, None if state == OPEN else path.parent.name, about)
    return list(found.values()), list(troubles.values())


def _paths(root: Path) -> Iterator[tuple[str, Path]]:
    """State and file of each segment, in the order in which segments move: none slips past while they do."""
    yield from ((OPEN, path) for path in root.glob(f"{OPEN}/*{SUFFIX}"))
    for state in (State.READY, State.SENT):
        yield from ((state, path) for path in root.glob(f"{state}/*/*{SUFFIX}"))


def _head(path: Path) -> dict[str, str]:
    """What a segment that is still being written says of its episode: it stands before everything else."""
    about: dict[str, str] = {}
    with path.open("rb") as file:
        try:
            for record in StreamReader(file, emit_chunks=True).records:
                if isinstance(record, Chunk):
                    break
                if isinstance(record, Metadata) and record.name == METADATA:
                    about = record.metadata
        except Exception:  # the end of what is there by now makes the decoders raise anything
            pass
    return about


def episodes(parts: Sequence[Part]) -> list[dict[str, Any]]:
    """The episodes to which they belong, the newest last."""
    grouped: dict[str, list[Part]] = {}
    for part in sorted(parts, key=lambda part: int(part.about["part"])):
        grouped.setdefault(part.about["id"], []).append(part)
    return sorted((_told(found) for found in grouped.values()), key=lambda told: int(told["started_wall_ns"]))


def _told(parts: Sequence[Part]) -> dict[str, Any]:
    about = parts[-1].about
    start_ns, end_ns = int(about["started_mono_ns"]), int(about["ended_mono_ns"])
    return {
        "id": about["id"],
        "number": int(about["number"]),
        "task": about["task"],
        "prompt": about["prompt"],
        "outcome": about["outcome"],
        "verdict": about["verdict"],
        "reasons": json.loads(about["reasons"]),
        "started_wall_ns": int(about["started_wall_ns"]),
        "duration_s": (end_ns - start_ns) / 1e9 if end_ns else None,
        "segments": [
            {"name": part.name, "part": int(part.about["part"]), "state": part.state, "class": part.kind}
            for part in parts
        ],
    }


def _row(episode: Mapping[str, Any]) -> dict[str, Any]:
    where = Counter("/".join(filter(None, (each["state"], each["class"]))) for each in episode["segments"])
    duration_s = episode["duration_s"]
    return {
        "number": episode["number"],
        "id": episode["id"],
        "task": episode["task"] or episode["prompt"],
        "outcome": episode["outcome"] or "-",
        "verdict": episode["verdict"] or "-",
        "duration": f"{duration_s:.1f} s" if duration_s is not None else "-",
        "parts": len(episode["segments"]),
        "segments": ", ".join(f"{place} {count}" for place, count in where.items()),
    }
