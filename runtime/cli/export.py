"""`reflexctl export`: recordings as a data set of LeRobot, as tables, or as one MCAP file. Needs no daemon."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from runtime.cli.export_arguments import NEEDS
from runtime.config.paths import state_directory
from runtime.export.episodes import Episode, begun, choose, group, touching
from runtime.export.errors import ExportError
from runtime.recording.reader import Recording, RecordingError, find


def export(args: argparse.Namespace) -> int:
    """Returns the exit code: 0 done; 1 nothing to export, or a file that is no recording."""
    try:
        missing = [name for name in NEEDS[args.format] if find_spec(name) is None]
        if missing:
            raise ExportError(f"{', '.join(missing)} is missing; install the extra: pip install 'reflexd[export]'")
        result = _export(args)
    except (ExportError, RecordingError) as error:
        print(f"reflexctl export: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"reflexctl export: {error.filename or args.output}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(json.dumps(result) if args.json else ", ".join(f"{key} {value}" for key, value in result.items()))
    return 0


def _export(args: argparse.Namespace) -> dict[str, Any]:
    recordings = find(args.segments, args.spool or state_directory() / "recordings")
    if args.output.exists() and any(args.output.iterdir()):
        raise ExportError(f"{args.output}: found files in this folder, expected an empty or a new one")
    if args.format == "mcap" and args.episode is None:
        return _mcap(args, recordings)
    episodes, remarks = group(recordings)
    if args.format != "mcap":
        place = begun if args.format == "lerobot" else touching
        if not (episodes := place(episodes, args.from_ns, args.to_ns)):
            raise ExportError("found no episode between --from and --to")
    chosen, more = choose(episodes, args.episode, args.all)
    for remark in [*remarks, *more]:
        _say(remark)
    if not chosen:
        known = ", ".join(episode.id for episode in episodes)
        raise ExportError(f"nothing is left to export; found the episodes {known or '(none)'}")
    if args.format == "lerobot":
        return _lerobot(args, chosen)
    if args.format == "parquet":
        from runtime.export import tables

        return {**tables.write(args.output, chosen, args.from_ns, args.to_ns), "folder": str(args.output)}
    return _mcap(args, [part for episode in chosen for part in episode.parts])


def _lerobot(args: argparse.Namespace, episodes: Sequence[Episode]) -> dict[str, Any]:
    from runtime.export.frames import frames, joint_names
    from runtime.export.lerobot import Dataset

    joints, first = joint_names(episodes), episodes[0].parts[0]
    fps = args.fps or _rate(first)
    cameras = sorted({name for episode in episodes for part in episode.parts for name in part.cameras})
    dataset = Dataset(args.output, first.about.get("robot", ""), fps, joints, cameras)
    left_out = 0
    for number, episode in enumerate(episodes, 1):
        try:
            found = frames(episode, fps)
            if lacking := [name for name in cameras if name not in found.images]:
                raise ExportError(f"episode {episode.id}: found no frame of camera {', '.join(lacking)}")
        except ExportError as error:
            _say(f"{error}: left out")
            left_out += 1
            continue
        dataset.add(episode, found)
        _say(f"episode {number} of {len(episodes)}: {episode.id}, {len(found)} frames {episode.outcome}".rstrip())
    if left_out == len(episodes):
        raise ExportError("nothing is left to export")
    dataset.close()
    return {"episodes": len(episodes) - left_out, "frames": dataset.frames, "fps": fps, "folder": str(args.output)}


def _rate(recording: Recording) -> int:
    """Frames a second that fit: the policy's rate, without a policy the robot's."""
    config = recording.config
    rate = config["policy"].get("rate") if "policy" in config else config["control"].get("rate")
    if not rate or round(rate) != rate:
        raise ExportError(f"{recording.path}: found a rate of {rate} Hz, expected a whole one; give --fps")
    return int(rate)


def _mcap(args: argparse.Namespace, recordings: Sequence[Recording]) -> dict[str, Any]:
    from runtime.export import cut

    first = recordings[0]
    for recording in recordings:
        if recording.about.get("robot") != first.about.get("robot"):
            raise ExportError(f"{recording.path}: found another robot than in {first.path}; export them apart")
    path = args.output / f"{first.name}-cut.mcap"
    count = cut.write(path, recordings, args.from_ns, args.to_ns)
    if not count:
        path.unlink()
        raise ExportError("found no message between --from and --to")
    return {"messages": count, "file": str(path)}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
