"""`reflexd replay`: a recording against a policy, or against the emulated robot, with limits for tests."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from runtime.cli.processes import ProcessError
from runtime.config.errors import ConfigError
from runtime.config.paths import state_directory
from runtime.link.errors import LinkError
from runtime.recording.reader import RecordingError, find, join
from runtime.replay.errors import ReplayError
from runtime.replay.runs import Run, runs
from runtime.replay.setting import read, settle, without_hardware


def replay(args: argparse.Namespace) -> int:
    """Returns the exit code: 0 done, and within the limits that were given; 1 otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="rfx-"))  # the paths of sockets must be short
    try:
        result = _replay(args, folder)
    except (ReplayError, RecordingError, ConfigError, ProcessError, LinkError) as error:
        print(f"reflexd replay: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result["exceeded"] = exceeded(args, result)
    print(json.dumps(result) if args.json else text(result))
    return 1 if result["exceeded"] else 0


def _replay(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    recordings = find(args.segments, args.spool or state_directory() / "recordings")
    ticks, walls = join(recordings)
    found = runs(ticks, [chunk for recording in recordings for chunk in recording.chunks()])
    if not found:
        raise ReplayError(f"{recordings[-1].path}: found no run of a policy with action chunks, expected one")
    table = read(recordings[-1], args.config)
    if "policy" not in table:
        raise ReplayError("found a config without [policy], expected one; give a config with --config")
    beside = args.beside or (args.config.parent if args.config else Path())
    about = {"segments": [recording.name for recording in recordings]}
    if args.robot:
        from runtime.replay.robot import replay as play

        run = found[_number(args.run, found) - 1]
        place = int((ticks["mono_ns"] == run.start_ns).nonzero()[0][0])
        return {**about, **play(table, beside, folder, recordings, run, int(walls[place]) - run.start_ns)}
    import uvloop

    from runtime.replay.policy import replay as ask

    chosen = found if args.run is None else [found[_number(args.run, found) - 1]]
    own = {**without_hardware(table), "policy": {**table["policy"], "latency": 0.0, "inline": False}}
    return {**about, **uvloop.run(ask(settle(own, beside, folder), ticks, chosen, recordings))}


def _number(wanted: int | None, found: list[Run]) -> int:
    number = len(found) if wanted is None else wanted
    if not 1 <= number <= len(found):
        raise ReplayError(f"--run {number}: found {len(found)} runs with action chunks, expected one of them")
    return number


def exceeded(args: argparse.Namespace, result: dict[str, Any]) -> list[str]:
    """What is beyond the limits that were given, one sentence each."""
    found = list(result.get("stops", ()))
    if (missing := result["chunks"] - result.get("answers", result.get("played", 0))) and not args.missing:
        found.append(f"{missing} of {result['chunks']} chunks are missing")
    for limit, value, what in (
        (args.action_tolerance, result["difference_rad"]["max"], "rad of difference to the recorded actions"),
        (args.tracking_tolerance, result.get("tracking_rad", {}).get("max"), "rad from command to position"),
        (args.latency_max, result.get("latency_ms", {}).get("p99", 0.0) / 1e3, "s of latency (p99)"),
        (args.limits_max, result["limit_ticks"]["any"], "ticks in which a limit acts"),
    ):
        if limit is not None and value is not None and value > limit:
            found.append(f"found {value:g} {what}, allowed are {limit:g}")
    return found


def text(result: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [
        f"{key.replace('_', ' '):<22}{_words(value)}" for key, value in result.items() if value not in ([], {})
    ]
    for key in ("difference_rad", "tracking_rad"):
        if key in result:
            for name, each in result[key]["joints"].items():
                lines.append(f"  {key[:-4]} of {name:<14} rms {each['rms']:.4f} max {each['max']:.4f}")
    return "\n".join(lines)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{key} {each}" for key, each in value.items() if key != "joints")
    return "; ".join(map(str, value)) if isinstance(value, list) else str(value)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("segments", nargs="+", metavar="SEGMENT", help="a file, a folder of segments, or a name")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--policy", action="store_true", help="show the policy what it saw, and compare its actions")
    what.add_argument("--robot", action="store_true", help="play the actions of a run to the emulated robot")
    parser.add_argument("--config", type=Path, metavar="FILE", help="another config (default: the one recorded)")
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="DIR",
        help="where paths of the recorded config begin (default: here)",
    )
    parser.add_argument("--spool", type=Path, metavar="DIR", help="where names of segments are looked up")
    parser.add_argument(
        "--run",
        type=int,
        metavar="N",
        help="only this run, from 1 (default: all; --robot: the last)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    limits = parser.add_argument_group("limits", "exit code 1 beyond one, and when the robot stops by itself")
    limits.add_argument("--action-tolerance", type=float, metavar="RAD", help="largest difference of an action")
    limits.add_argument("--tracking-tolerance", type=float, metavar="RAD", help="--robot: command to position")
    limits.add_argument("--latency-max", type=float, metavar="S", help="--policy: latency, 99 of 100 chunks")
    limits.add_argument("--limits-max", type=int, metavar="N", help="ticks in which a limit of the envelope acts")
    limits.add_argument("--missing", action="store_true", help="let chunks be missing that cannot be asked for")
