"""The shipped robots, whole: the command line, the real processes, the real wires."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from runtime.cli.processes import DaemonProcess, Emulator
from runtime.config.load import load

ROOT = Path(__file__).parents[2]
GO1 = ROOT / "../shared/robots/go1/go1.xml"

pytestmark = pytest.mark.system


def run(*words: str, state: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runtime.cli.reflexd", *words],
        cwd=ROOT,
        env={**os.environ, "STATE_DIRECTORY": str(state)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_demo_picks_from_the_belt_and_reports(tmp_path: Path) -> None:
    done = run("demo", "--json", "--view", str(tmp_path / "scene.gif"), state=tmp_path)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout.splitlines()[0])
    assert result["latency_s"] == 0.2
    # Nine of ten on a quiet machine (docs/benchmarks.md); a busy one that holds up the physics may cost some.
    assert result["task"]["in_bin"] >= 5, result["task"]
    assert result["status"]["policy"]["chunks"] > 50
    assert result["status"]["policy"]["failures"] == {}
    assert Path(result["status"]["recording"]["path"]).stat().st_size > 100_000
    assert (tmp_path / "scene.gif").read_bytes()[:4] == b"GIF8"
    assert (tmp_path / "demo" / "demo_arm-reflexd.json").exists()


def test_hinges_swing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    with tempfile.TemporaryDirectory(prefix="rfx-") as folder:
        config = load(ROOT / "configs/hinges.toml", run_dir=folder)
        with Emulator(config) as emulator, DaemonProcess(config) as daemon:
            daemon.wait_policy()
            daemon.request("arm")
            daemon.request("start")
            seen: list[list[float]] = []
            deadline = time.monotonic() + 60
            while not seen or min(max(joint) - min(joint) for joint in zip(*seen, strict=True)) < 0.6:
                assert time.monotonic() < deadline, daemon.log_tail()
                seen.append([joint["position"] for joint in emulator.ask("state")["joints"].values()])
                time.sleep(0.02)
            assert daemon.request("status")["mode"] == "AUTO"


@pytest.mark.skipif(not GO1.exists(), reason="the Go1's model is not beside the project")
def test_go1_walks_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    with tempfile.TemporaryDirectory(prefix="rfx-") as folder:
        config = load(ROOT / "configs/go1.toml", run_dir=folder)
        with Emulator(config) as emulator, DaemonProcess(config) as daemon:
            daemon.wait_policy()
            daemon.request("arm")
            daemon.request("start")
            deadline = time.monotonic() + 60
            speeds: list[float] = []
            while len(speeds) < 20:
                time.sleep(0.2)
                score = emulator.ask("score")["score"]
                assert not score["falls"], daemon.log_tail()
                assert time.monotonic() < deadline, f"it did not walk: {score}"
                if score["standing"]:
                    speeds.append(score["vx"])
            assert sum(speeds[10:]) / 10 > 0.7, "it was told to walk at 1 m/s"
            daemon.request("command", values={"vx": 0.0})
            assert daemon.request("status")["commands"]["vx"] == 0.0


def test_check_says_what_is_good_and_what_is_not(tmp_path: Path) -> None:
    good = run("check", "configs/demo.toml", state=tmp_path)
    assert good.returncode == 0
    assert "arm" in good.stdout
    text = (ROOT / "configs/demo.toml").read_text().replace("rate = 100.0", "rate = 900.0", 1)
    bad = tmp_path / "demo.toml"
    bad.write_text(text)
    done = run("check", str(bad), state=tmp_path)
    assert done.returncode == 1
    assert "900 Hz" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_robot_whose_motors_are_missing_is_told_and_nothing_starts(tmp_path: Path) -> None:
    done = run("run", "configs/demo.toml", "--run-dir", str(tmp_path), state=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert str(tmp_path) in done.stderr, "it names what it looked for"
