"""The control loop blocked, and the whole interpreter frozen, in the running demo: what stops the robot, and when.

All times count from the last command that the motors got, which the loop sends in the tick of its last beat.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, Self

from runtime.cli.processes import DaemonProcess, Emulator
from tests.bench.board import Board
from tests.bench.noting_motors import TRIPPED
from tests.bench.presses import ATTEMPTS, run_policy, wired
from tests.bench.surroundings import watched

FAULTY = Path(__file__).parents[1] / "rig/guest/faulty_daemon.py"
SERVICE_S = 2.0
"""`WatchdogSec=` of the shipped unit."""
MOTORS = 7
FOR_GOOD_S = 60.0
STALLS = {"the demo's": None, "the default": 0.03, "the least": 0.02}
"""`safety.stall`: the demo's own, 3 periods, 2 periods; s."""
RUNNING_S, AFTERWARDS_S = 0.3, 0.5
"""So long the robot runs before a fault, and so long is waited for what follows, s."""
STANDS = 0.05
"""A joint that is slower than this, rad/s, stands."""


def measure(folder: Path, times: int) -> list[dict[str, Any]]:
    """One row for each kind of fault, which is made so many times; times in ms."""
    os.environ["FAULT"] = os.fspath(folder / "fault")
    rows = []
    for name, stall_s in STALLS.items():
        for seconds in (0.05, 0.5):
            fault = f"loop blocked for {seconds * 1e3:.0f} ms"
            rows.append({"fault": fault, "stall": name, **_passing(folder, stall_s, seconds, times)})
    for fault, number in (("loop blocked", signal.SIGUSR1), ("interpreter frozen", signal.SIGRTMIN)):
        rows.append({"fault": f"{fault} for good", "stall": "the demo's", **_lasting(folder, number, times)})
    return rows


def _passing(folder: Path, stall_s: float | None, seconds: float, times: int) -> dict[str, Any]:
    """The loop comes back: the robot runs on, or can be used again after a reset."""
    found: dict[str, list[float]] = {}
    with _robot(folder) as (emulator, board), _daemon(folder, stall_s) as daemon:
        for _ in range(times):
            run_policy(emulator, daemon)
            board.forget()
            time.sleep(RUNNING_S)
            _break(folder, daemon, signal.SIGUSR1, seconds)
            time.sleep(seconds + AFTERWARDS_S)
            _add(found, board.noted(), "drive_off", "torque_off")
    return _row(folder, stall_s, times, found)


def _lasting(folder: Path, number: int, times: int) -> dict[str, Any]:
    """The loop never comes back: we are the service manager, and end the daemon."""
    found: dict[str, list[float]] = {}
    for _ in range(times):
        with (
            _robot(folder) as (emulator, board),
            _ServiceManager(folder) as service,
            _daemon(folder, None) as daemon,
            ThreadPoolExecutor(1) as aside,
        ):
            ended = aside.submit(service.watch, daemon)
            run_policy(emulator, daemon)
            board.forget()
            time.sleep(RUNNING_S)
            _break(folder, daemon, number, FOR_GOOD_S)
            moved_ns = _last_motion(emulator)
            edge_ns = board.noted()["heartbeat"]  # the daemon's end is an edge, too
            aborted_ns = ended.result()
            time.sleep(AFTERWARDS_S)
            tripped = [int(line) for line in (folder / TRIPPED).read_text().split()]
            noted = board.noted() | {"heartbeat": edge_ns, "stands": moved_ns, "aborted": aborted_ns}
            noted |= {"tripped": max(tripped)} if len(tripped) == MOTORS else {}
            _add(found, noted, "heartbeat", "drive_off", "torque_off", "tripped", "stands", "aborted")
    return _row(folder, None, times, found)


@contextmanager
def _robot(folder: Path) -> Iterator[tuple[Emulator, Board]]:
    config, robot = wired(folder)
    with Emulator(robot, ("-m", "tests.bench.noting_motors")) as emulator, Board(config, robot) as board:
        yield emulator, board


@contextmanager
def _daemon(folder: Path, stall_s: float | None) -> Iterator[DaemonProcess]:
    config, _ = wired(folder)
    settings = [f'safety.heartbeat={{type="emulated",path="{folder}/gpio.sock",line="heartbeat"}}']
    settings += [] if stall_s is None else [f"safety.stall={stall_s}"]
    settings.append(ATTEMPTS)
    with DaemonProcess(config, settings, [os.fspath(FAULTY)]) as daemon, watched(config):
        daemon.wait_policy()
        yield daemon


class _ServiceManager:
    """What systemd does for the shipped unit: SIGABRT when the daemon has not fed its watchdog for too long."""

    def __init__(self, folder: Path) -> None:
        """What is started from here on is watched by it."""
        path = folder / "notify.sock"
        told = {"NOTIFY_SOCKET": os.fspath(path), "WATCHDOG_USEC": str(round(SERVICE_S * 1e6))}
        self._stack = ExitStack()
        self._notify = self._stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._notify.bind(os.fspath(path))
        self._stack.callback(path.unlink)
        os.environ.update(told)
        for name in told:
            self._stack.callback(os.environ.pop, name)

    def watch(self, daemon: DaemonProcess) -> int:
        """Until the daemon has been silent for too long, and was ended. When that was, ns."""
        with suppress(TimeoutError):
            fed_ns = time.monotonic_ns()
            while True:
                left_s = SERVICE_S - (time.monotonic_ns() - fed_ns) / 1e9
                self._notify.settimeout(max(left_s, 1e-6))
                if self._notify.recv(4096) == b"WATCHDOG=1":
                    fed_ns = time.monotonic_ns()
        daemon.kill(signal.SIGABRT)
        return time.monotonic_ns()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


def _break(folder: Path, daemon: DaemonProcess, number: int, seconds: float) -> None:
    (folder / TRIPPED).write_text("")
    (folder / "fault").write_text(str(seconds))
    daemon.process.send_signal(number)


def _last_motion(emulator: Emulator) -> int:
    """Watch the arm for a second; when it was last seen moving."""
    moved_ns = time.monotonic_ns()
    until_ns = moved_ns + 1_000_000_000
    while (now_ns := time.monotonic_ns()) < until_ns:
        joints = emulator.ask("state")["joints"].values()
        if any(abs(joint["velocity"]) > STANDS for joint in joints):
            moved_ns = now_ns
        time.sleep(0.005)
    return moved_ns


def _add(found: dict[str, list[float]], noted: dict[str, int], *names: str) -> None:
    for name in names:
        if name in noted:
            found.setdefault(name, []).append((noted[name] - noted["command"]) / 1e6)


def _row(folder: Path, stall_s: float | None, times: int, found: dict[str, list[float]]) -> dict[str, Any]:
    config, _ = wired(folder)
    stall_ms = 1e3 * (config.stall_s if stall_s is None else stall_s)
    return {
        "stall_ms": stall_ms,
        "times": times,
        "stops": len(found.get("drive_off", ())),
        "ms": {name: _spread(ms) for name, ms in found.items()},
    }


def _spread(times: list[float]) -> dict[str, float]:
    return {"min": round(min(times), 1), "median": round(median(times), 1), "max": round(max(times), 1)}


_COLUMNS = {
    "drive_off": "drive-enable off",
    "torque_off": "stop frame",
    "heartbeat": "last edge of the heartbeat",
    "tripped": "all motors' watchdogs tripped",
    "stands": "arm stands",
    "aborted": "ended by systemd's watchdog",
}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown: least, median and most."""
    lines = [
        "| ms after the last command | `safety.stall` | stopped | " + " | ".join(_COLUMNS.values()) + " |",
        "|---" * (3 + len(_COLUMNS)) + "|",
    ]
    for row in rows:
        cells = [
            "{min:.1f} / {median:.1f} / {max:.1f}".format(**row["ms"][name]) if name in row["ms"] else ""
            for name in _COLUMNS
        ]
        stall = f"{row['stall_ms']:.0f} ms, {row['stall']}"
        lines.append(
            f"| {row['fault']} | {stall} | {row['stops']} of {row['times']} | " + " | ".join(cells) + " |"
        )
    return "\n".join(lines)
