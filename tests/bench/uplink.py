"""`python -m tests.bench.uplink`: the Go1 records and uploads at ten times its rate over a link that flaps.

Every segment has to be on the server in the end, once, and its control loop has to be as punctual as without.
Needs root (a network namespace) and the Go1's model. The loop's lateness with and without recording and upload is
measured in turns, in windows; what is compared is the median of the windows' p99.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from runtime.cli.processes import DaemonProcess, Emulator
from runtime.config.config import Config
from runtime.config.load import load
from tests.bench.surroundings import CONFIGS, machine, save
from tests.spool.delivered import delivered
from tests.spool.namespace import Uplink, uplink, why_not
from tests.spool.server import BUCKET, CREDENTIALS
from tests.spool.weather import storm

WINDOW_S = 15.0
TIMES = 10
"""Segments come at so many times the rate of the robot's own."""
_EVERY_S = 5.0
_LONGEST_S = 15.0
_DRAIN_S = 900.0
_SERVERS_CPU = "0"
"""The Go1's config has its daemon on CPU 1."""


class Robot:
    """The daemon, with or without recording and upload, walking."""

    def __init__(self, config: Config, settings: list[str]) -> None:
        self._stack = ExitStack()
        self._stack.enter_context(Emulator(config))
        self.daemon = self._stack.enter_context(DaemonProcess(config, settings))
        self.daemon.wait_policy()
        self.daemon.request("arm")
        self.daemon.request("start")
        time.sleep(2.0)

    def windows(self, seconds: float) -> list[dict[str, Any]]:
        found = []
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.daemon.request("clear_histograms")
            before = self.daemon.request("status")
            time.sleep(WINDOW_S)
            after = self.daemon.request("status")
            missed = after["missed_deadlines"] - before["missed_deadlines"]
            found.append({**after["lateness_us"], "missed": missed, "ticks": after["tick"] - before["tick"]})
        return found

    def close(self) -> None:
        self.daemon.request("disarm")
        self._stack.close()


class Feeder(threading.Thread):
    """Puts segments into `ready`, beside those that the robot records itself."""

    def __init__(self, root: Path, rate_bps: float) -> None:
        super().__init__(daemon=True)
        self._root, self._bytes = root, int(rate_bps * _EVERY_S)
        self.fed = 0
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(_EVERY_S):
            kind = ("bulk", "bulk", "failure", "intervention", "safety")[self.fed % 5]
            path = self._root / f"fed-{self.fed:05d}.new"
            path.write_bytes(os.urandom(self._bytes))
            path.rename(self._root / "ready" / kind / f"fed-{self.fed:05d}.mcap")
            self.fed += 1

    def end(self) -> None:
        self._ended.set()
        self.join()


def _settings(root: Path, up: Uplink) -> list[str]:
    return [
        f'recording.directory="{root}"',
        "recording.segment_minutes=0.5",
        "spool.size_max=100.0",
        "spool.free_min=0.0",
        f'upload.url="s3://{BUCKET}/all"',
        f'upload.endpoint="{up.url}"',
        'upload.region="us-east-1"',
    ]


def _rate(robot: Robot, seconds: float = 20.0) -> float:
    before = robot.daemon.request("status")["recording"]["bytes"]
    time.sleep(seconds)
    return float(robot.daemon.request("status")["recording"]["bytes"] - before) / seconds


def measure(folder: Path, up: Uplink, minutes: float, rounds: int, seed: int) -> dict[str, Any]:
    """Rounds without and with; the weather is bad for `minutes` in all."""
    config = load(CONFIGS / "go1.toml", run_dir=folder)
    root = folder / "recordings"
    without: list[dict[str, Any]] = []
    loaded: list[dict[str, Any]] = []
    weather: dict[str, int] = {}
    generator = random.Random(seed)
    share_s = minutes * 60 / rounds
    fed, rate_bps = 0, 0.0
    for number in range(rounds):
        robot = Robot(config, ["recording.enabled=false"])
        without += robot.windows(max(share_s / 3, WINDOW_S))
        robot.close()
        robot = Robot(config, _settings(root, up))
        rate_bps = rate_bps or _rate(robot)
        feeder = Feeder(root, (TIMES - 1) * rate_bps)
        feeder.fed = fed
        feeder.start()
        told: list[dict[str, int]] = []
        bad = threading.Thread(target=lambda told=told: told.append(storm(up, share_s, _LONGEST_S, generator)))
        bad.start()
        while bad.is_alive():
            loaded += robot.windows(WINDOW_S)
        feeder.end()
        fed = feeder.fed
        for what, count in told[0].items():
            weather[what] = weather.get(what, 0) + count
        if number < rounds - 1:
            robot.close()
    drained_s, left = _drain(robot, root)
    status = robot.daemon.request("spool")
    robot.close()
    p99 = [statistics.median(window["p99"] for window in windows) for windows in (without, loaded)]
    return {
        "recorded_bps": round(rate_bps),
        "fed_bps": round((TIMES - 1) * rate_bps),
        "fed_segments": fed,
        "weather": weather,
        "drained_s": round(drained_s, 1),
        "left": left,
        "lost": status["lost"],
        **delivered(root, up.url),
        "p99_us": p99,
        "p99_ratio": round(p99[1] / p99[0], 3),
        "without": without,
        "with": loaded,
    }


def _drain(robot: Robot, root: Path) -> tuple[float, int]:
    """The weather is fine: how long until nothing waits but what is being written, and what still waits then."""
    started = time.monotonic()
    while True:
        robot.daemon.request("spool_upload")
        left = len(list(root.glob("ready/*/*")))
        if not left or time.monotonic() > started + _DRAIN_S:
            return time.monotonic() - started, left
        time.sleep(1.0)


def main() -> None:
    """Run it, write results/uplink.json, and fail when a segment is missing, double or another one."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.uplink", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of bad weather")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if trouble := why_not():
        sys.exit(trouble)
    os.environ |= CREDENTIALS
    with tempfile.TemporaryDirectory(prefix="rfx-") as name, uplink(_SERVERS_CPU) as up:
        os.environ["STATE_DIRECTORY"] = f"{name}/state"
        found = measure(Path(name), up, arguments.minutes, arguments.rounds, arguments.seed)
    save("uplink", {"machine": machine(), **found})
    print({key: value for key, value in found.items() if key not in ("with", "without")})
    bad = [name for name in ("left", "foreign", "unsent", "twice_sent", "corrupt") if found[name]]
    sys.exit(f"found {bad}" if bad else 0)


if __name__ == "__main__":
    main()
