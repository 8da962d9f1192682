"""Orders and settings that are wrong, given to the real daemon: refused with the reason, and nothing moves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
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


def test_a_second_daemon_leaves_the_robot_alone(rig: Any) -> None:
    rig.run_policy()
    done = subprocess.run(
        [sys.executable, "-m", "runtime.cli.reflexd", "run", rig.config.path, "--run-dir", rig.config.places.run],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "drive_enable" in done.stderr
    assert "Traceback" not in done.stderr
    assert rig.status()["mode"] == "AUTO"
    assert all(rig.moving())
