"""Orders and settings that are wrong, given to the real daemon: refused with the reason, and nothing moves."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.link.errors import Refused

pytestmark = pytest.mark.system


def refused(rig: Any, op: str, **args: Any) -> str:
    with pytest.raises(Refused) as refusal:
        rig.daemon.request(op, **args)
    return f"{refusal.value} {refusal.value.reasons}"


def test_wrong_joint_limits_keep_from_arming(make_rig: Callable[..., Any]) -> None:
    rig = make_rig("joint.j2.position_min=1.0")  # it stands at 0
    told = refused(rig, "arm")
    assert "joint j2 (bus b1, id 1)" in told
    assert "outside 1 .. 2.5" in told
    assert rig.emulator.ask("state")["power"] is False
    assert rig.status()["mode"] == "STANDBY"


def test_orders_that_make_no_sense_move_nothing(rig: Any) -> None:
    rig.daemon.wait_policy()
    assert "STANDBY" in refused(rig, "start")
    assert "STANDBY" in refused(rig, "move", joints={"j0": 0.5})
    rig.daemon.request("arm")
    assert "j0=9 rad is outside -2.5 .. 2.5" in refused(rig, "move", joints={"j0": 9.0, "j1": 0.5})
    assert "unknown joint 'elbow'" in refused(rig, "move", joints={"elbow": 0.5, "j1": 0.5})
    assert "j0" in refused(rig, "move", joints={"j0": float("nan")})
    assert not any(rig.moving())
    assert rig.status()["mode"] == "HOLD"


def second_daemon(rig: Any, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runtime.cli.reflexd", "run", config, "--run-dir", rig.config.places.run],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_second_daemon_leaves_the_robot_alone(rig: Any) -> None:
    rig.run_policy()
    done = second_daemon(rig, rig.config.path)
    assert done.returncode == 1
    assert "drive_enable" in done.stderr
    assert "Traceback" not in done.stderr
    assert rig.status()["mode"] == "AUTO"
    assert all(rig.moving())


def test_a_second_daemon_without_lines_says_nothing_to_the_motors(rig: Any) -> None:
    rig.run_policy()
    text, lines = rig.config.path.read_text(), r"\[safety\.(estop|drive_enable)\]\n(\w+ = .*\n)*"
    bare = rig.config.path.with_name("bare.toml")
    bare.write_text(re.sub(lines, "", text).replace("[safety]\n", "[safety]\nrun_without_estop = true\n", 1))
    done = second_daemon(rig, bare)
    assert done.returncode == 1
    assert "found another process listening" in done.stderr, done.stderr
    assert rig.status()["mode"] == "AUTO"
    assert all(rig.moving())
