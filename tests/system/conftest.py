from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runtime.cli.processes import DaemonProcess, Emulator
from runtime.config.config import Config
from runtime.config.load import load
from runtime.link.errors import Refused
from tests import robots

POLICY = """
[policy]
backend = "swing:Swing"
rate = 50.0
horizon = 50
execute = 10
options = {{ joints = {joints}, rate = 50.0 }}
[[policy.observation]]
source = "joint.position"
[[policy.action]]
target = "joint.position"
"""
STILL = 0.03
"""A joint that moves less than this (rad) in half a second stands."""


def _positions(state: dict[str, Any]) -> list[float]:
    joints = state["joints"]
    return [joints[name]["position"] for name in sorted(joints)]


@dataclass
class Rig:
    """An emulated robot with one bus of each kind, and its daemon."""

    config: Config
    emulator: Emulator
    daemon: DaemonProcess

    def positions(self) -> list[float]:
        return _positions(self.emulator.ask("state"))

    def wait(self, condition: Callable[[], Any], timeout_s: float = 15.0, what: str = "") -> Any:
        deadline = time.monotonic() + timeout_s
        while True:
            found = condition()
            if found or time.monotonic() > deadline:
                assert found, f"did not happen within {timeout_s} s: {what}\n{self.daemon.log_tail()}"
                return found
            time.sleep(0.02)

    def moving(self) -> list[bool]:
        """Which joints move, watched for half a second of their own time."""
        state = self.emulator.ask("state")
        end, seen = state["time"] + 0.5, [_positions(state)]
        while state["time"] < end:
            time.sleep(0.05)
            state = self.emulator.ask("state")
            seen.append(_positions(state))
        return [max(joint) - min(joint) > STILL for joint in zip(*seen, strict=True)]

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.daemon.request("status")
        return found

    def told(self) -> list[dict[str, Any]]:
        """All events so far."""
        events: list[dict[str, Any]] = []
        page: dict[str, Any] = {"next": 0, "more": True}
        while page["more"]:
            page = self.daemon.request("events", since=page["next"])
            events += page["events"]
        return events

    def events(self) -> list[str]:
        return [event["name"] for event in self.told()]

    def reset(self) -> bool:
        """Whether what is latched is reset now."""
        try:
            self.daemon.request("reset")
        except Refused:
            return False
        return self.status()["mode"] in ("STANDBY", "HOLD")

    def run_policy(self) -> None:
        self.daemon.wait_policy()
        self.daemon.request("arm")
        self.daemon.request("start")
        self.wait(lambda: all(self.moving()), what="all joints swing")


@pytest.fixture
def make_rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rig]]:
    """Start rigs; all is stopped and removed at the end. Unix socket paths must be short, so not tmp_path."""
    folder = Path(tempfile.mkdtemp(prefix="rfx-"))
    monkeypatch.setenv("STATE_DIRECTORY", str(folder / "state"))
    with ExitStack() as stack:

        def make(
            *settings: str, rate: float = 200.0, estop: bool = True, policy: bool = True, **options: Any
        ) -> Rig:
            buses = [("dynamixel", 2), ("damiao", 2)]
            path = robots.write(folder, buses, rate, POLICY.format(joints=4), estop)
            shutil.copy(Path(__file__).parents[2] / "configs/hinges/swing.py", folder)
            for model in ("noise.py", "obedient.py", "erratic.py"):
                shutil.copy(Path(__file__).parent / model, folder)
            config = load(path, run_dir=folder)
            emulator = stack.enter_context(Emulator(config))
            daemon = stack.enter_context(DaemonProcess(config, settings, **options))
            if policy:
                daemon.wait_policy()  # a robot whose policy is not ready cannot be armed
            return Rig(config, emulator, daemon)

        yield make
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def rig(make_rig: Callable[..., Rig]) -> Rig:
    return make_rig()
