"""The e-stop pressed at random moments in the running demo: how long until drive-enable is off, and until the stop
frame is on the wire. Beside each press one of the reference, `tests/bench/echo.py`, by the same board."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from runtime.cli.overrides import parse_overrides
from runtime.cli.processes import DaemonProcess, Emulator
from runtime.config.config import Config
from runtime.config.load import load
from runtime.link.errors import Refused
from tests.bench.board import ROBOT, Board
from tests.bench.surroundings import CONFIGS, watched

PATIENCE_S = 20.0
RUNNING_S = (0.05, 0.35)
"""The robot runs so long before each of the two presses, s."""
ATTEMPTS = "degraded.failed_attempts=1000000"
"""Every stop of a run is one, and is counted over a restart of the daemon."""
_NEXT = {"ESTOP": "reset", "FAULT": "reset", "STANDBY": "arm", "HOLD": "start"}
AFTERWARDS_S = 0.2
"""So long after a press nothing is asked of the board, which would disturb it, s; all must be over then."""


def measure(folder: Path, presses: int) -> dict[str, Any]:
    """Press so often; times in us."""
    config, robot = wired(folder)
    moments = random.Random(1)
    took: dict[str, list[float]] = {"drive_off": [], "torque_off": [], "echo": []}
    with (
        Emulator(robot) as emulator,
        Board(config, robot) as board,
        _echo(board, config.safety.priority),
        DaemonProcess(config, [ATTEMPTS]) as daemon,
        watched(config),
    ):
        daemon.wait_policy()
        for _ in range(presses):
            run_policy(emulator, daemon)
            _press(board, "reference", moments.uniform(*RUNNING_S), took, "echo")
            _press(board, "estop", moments.uniform(*RUNNING_S), took, "drive_off", "torque_off")
        missed = daemon.request("status")["missed_deadlines"]
    told = [json.loads(line) for line in (folder / "daemon.log").read_text().splitlines()]
    took["written"] = [event["torque_off_us"] for event in told if event["event"] == "safety.torque_off"]
    return {
        "presses": presses,
        "board": board.scheduling,
        "missed_deadlines": missed,
        **{f"{name}_us": _summary(times) for name, times in took.items()},
    }


def wired(folder: Path) -> tuple[Config, Config]:
    """The demo for the daemon, and for the emulator with the board in between."""
    path = CONFIGS / "demo.toml"
    return load(path, run_dir=folder), load(path, run_dir=folder, overrides=parse_overrides(ROBOT))


def run_policy(emulator: Emulator, daemon: DaemonProcess) -> None:
    """From any stop to the running policy: lift the arm to where it began, reset, arm, start."""
    deadline = time.monotonic() + PATIENCE_S
    while (mode := daemon.request("status")["mode"]) != "AUTO":
        if mode == "STANDBY":
            emulator.ask("reset")
        try:
            if verb := _NEXT.get(mode):
                daemon.request(verb)
        except Refused as refused:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{refused} {refused.reasons}\n{daemon.log_tail()}") from None
            time.sleep(0.02)


def _summary(times: list[float]) -> dict[str, float]:
    """Percentiles and the greatest."""
    ranks = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
    return {name: round(float(np.percentile(times, rank, method="higher")), 1) for name, rank in ranks.items()}


def _press(board: Board, line: str, after_s: float, took: dict[str, list[float]], *answers: str) -> None:
    pressed_ns = board.press(line, after_s)
    time.sleep(AFTERWARDS_S)
    noted = board.noted()
    if not set(answers) <= set(noted):
        raise RuntimeError(f"{line} was pressed, and only {sorted(noted)} followed within {AFTERWARDS_S:g} s")
    for answer in answers:
        took[answer].append((noted[answer] - pressed_ns) / 1e3)
    board.release(line)


@contextmanager
def _echo(board: Board, priority: int) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.bench.echo", os.fspath(board.lines), str(priority)]
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        )
        stack.callback(process.kill)
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the reference did not start")
        yield


def table(results: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"| {results['presses']} presses | p50 us | p90 us | p99 us | p99.9 us | max us |",
        "|---|---|---|---|---|---|",
    ]
    for name, what in (
        ("drive_off_us", "e-stop edge to drive-enable off"),
        ("torque_off_us", "e-stop edge to stop frame on the wire"),
        ("written_us", "the daemon's own: from its waking to the stop frame written"),
        ("echo_us", "reference: edge to edge of a bare thread"),
    ):
        row = results[name]
        lines.append(f"| {what} | " + " | ".join(f"{row[rank]:.0f}" for rank in row) + " |")
    return "\n".join(lines)
