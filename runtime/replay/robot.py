"""Recorded actions to the emulated robot, through the real daemon in real time: the run, once more."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from drivers.state import Floats
from runtime.cli.processes import DaemonProcess, Emulator
from runtime.config.config import Config
from runtime.control.modes import ENERGISED, Mode
from runtime.events import stops_robot
from runtime.export import cut
from runtime.export.frames import nearest
from runtime.recording.contract import INFO
from runtime.recording.reader import Recording, find, join
from runtime.replay.errors import ReplayError
from runtime.replay.policy import difference
from runtime.replay.runs import Run, limit_ticks, runs
from runtime.replay.setting import refuse_hardware, settle, without_hardware

PLAN = "plan.mcap"
_LOOK_S = 0.05
_POSE_S = 30.0
"""Going to where the recorded run began takes at most this long."""
_AT_POSE = 1e-3
"""So close to it (rad) the commands have to come."""
_LONGER_S = 30.0
"""The run may take this much longer than it did."""


def setting(table: dict[str, Any], run: Run, folder: Path) -> dict[str, Any]:
    """The config for playing a run: backend `replay`, as slow as the policy was, and nothing of real hardware."""
    latency_s = float(np.median([chunk.about["latency_s"] for chunk in run.chunks]))
    gone = ("python", "sha256", "fallback", "options", "inline")
    policy = {key: value for key, value in table["policy"].items() if key not in gone}
    # The recorded chunks continue the plan already where the policy was told to do so.
    seam = "blend" if policy.get("seam") == "prefix" else policy.get("seam", "blend")
    # What the chunks were answers to does not matter any more.
    policy["observation"] = [{"source": "joint.position"}]
    kept = {key: value for key, value in without_hardware(table).items() if key != "cameras"}
    played = {
        "backend": "replay",
        "model": str(folder / PLAN),
        "latency": latency_s,
        "seam": seam,
        "inline": False,
    }
    return {
        **kept,
        "policy": {**policy, **played, "timeout": max(policy.get("timeout", 1.0), latency_s + 1.0)},
        "recording": {"directory": str(folder / "recordings")},
    }


def replay(
    table: dict[str, Any], beside: Path, folder: Path, recordings: Sequence[Recording], run: Run, wall_ns: int
) -> dict[str, Any]:
    """Play the recorded actions of a run. Returns the figures that `reflexd replay` prints.

    `wall_ns`: from CLOCK_MONOTONIC to wall time in the recording. Raises ReplayError, ConfigError, ProcessError,
    LinkError.
    """
    if not run.begins:
        raise ReplayError("the run began before the recording: give the segment before it as well")
    folder.mkdir(parents=True, exist_ok=True)
    cut.write(folder / PLAN, recordings, run.start_ns + wall_ns, run.end_ns + wall_ns)
    config = settle(setting(table, run, folder), beside, folder)
    refuse_hardware(config)
    with Emulator(config), DaemonProcess(config) as daemon:
        daemon.wait_policy()
        daemon.request("arm")
        left = _go(daemon, config, run.command)
        daemon.request("start")
        _watch(daemon, (run.end_ns - run.start_ns) / 1e9 + _LONGER_S)
        if daemon.request("status")["mode"] in {mode.name for mode in ENERGISED}:
            daemon.request("disarm")
    return {**_figures(config, run, find([str(folder / "recordings")], folder)), "pose_left_rad": round(left, 4)}


def _go(daemon: DaemonProcess, config: Config, pose: Floats) -> float:
    """Move by hand to where the run began. Returns what is left, rad."""
    inside = {
        joint.name: min(max(angle, joint.position_min), joint.position_max)
        for joint, angle in zip(config.joints, pose.tolist(), strict=True)
    }
    daemon.request("move", joints=inside)
    deadline = time.monotonic() + _POSE_S
    left = np.inf
    while left > _AT_POSE and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
        goals = {joint["name"]: joint["goal"] for joint in daemon.request("joints")}
        if None in goals.values():
            raise ReplayError(f"the robot stopped on its way to where the run began\n{daemon.log_tail()}")
        left = max(abs(goals[name] - angle) for name, angle in inside.items())
    daemon.request("stop")
    return float(left)


def _watch(daemon: DaemonProcess, patience_s: float) -> None:
    """Wait until all chunks were played and the plan has run out, or the robot has stopped by itself."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        status = daemon.request("status")
        over = status["policy"]["state"] == "unavailable" and status["plan_ahead_s"] == 0.0
        if over or status["mode"] != Mode.AUTO.name:
            return
        time.sleep(_LOOK_S)


def _figures(config: Config, run: Run, again: Sequence[Recording]) -> dict[str, Any]:
    ticks, _ = join(again)
    found = runs(ticks, [chunk for recording in again for chunk in recording.chunks()])
    stops = [
        message.value["message"]
        for recording in again
        for message in recording.messages("/events")
        if stops_robot(message.value["name"], message.value["level"] > INFO)
    ]
    if not found:
        raise ReplayError(
            f"no recorded chunk was executed; {'; '.join(stops) or 'the robot did not stop by itself'}"
        )
    played = found[-1]
    # Both from the arrival of their first chunk on, which is when they begin to move.
    theirs, ours = (each.ticks["mono_ns"] - each.chunks[0].about["arrived_mono_ns"] for each in (run, played))
    until = (ours >= 0) & (ours <= theirs[-1])
    names = [joint.name for joint in config.joints]
    mine, own = played.ticks[until], run.ticks[theirs >= 0]
    pairs = nearest(theirs, ours[until])
    return {
        "chunks": len(run.chunks),
        "played": len(played.chunks),
        "seconds": round(float(ours[until][-1] / 1e9), 3) if len(mine) else 0.0,
        "tracking_rad": difference(mine["joints"]["position"] - mine["joints"]["command"], names),
        "recorded_tracking_rad": difference(own["joints"]["position"] - own["joints"]["command"], names),
        "difference_rad": difference(mine["joints"]["command"] - run.ticks["joints"]["command"][pairs], names),
        "limit_ticks": limit_ticks(mine["joints"]["limits"]),
        "recorded_limit_ticks": limit_ticks(own["joints"]["limits"]),
        "ticks": len(mine),
        "stops": stops,
        "remarks": [],
    }
