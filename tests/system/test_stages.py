"""Commissioning with the real daemon: from sensors to 25 %, slowly, and back again when something was changed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from runtime.cli.processes import DaemonProcess
from runtime.link.errors import Refused

pytestmark = pytest.mark.system

STAGES = "safety.stages={run_minutes=0.02,single_person=true}"
TWO_PEOPLE = "safety.stages={run_minutes=0.02}"
TOP_SPEED, WAY = 5.0, 2.0
"""rad/s of tests/robots.py, and rad."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it takes other users' identities")


def run_is_long_enough(rig: Any) -> None:
    rig.wait(lambda: rig.status()["stage"]["run_s"] >= 1.2, what="a whole run")


def refused(rig: Any, op: str, **args: Any) -> str:
    with pytest.raises(Refused) as refusal:
        rig.daemon.request(op, **args)
    return " | ".join(refusal.value.reasons)


def moves_slowly(rig: Any, way: float) -> None:
    start, before = rig.positions()[0], time.monotonic()
    rig.daemon.request("move", joints={"j0": start + way})
    rig.wait(lambda: abs(rig.positions()[0] - start) > abs(way) - 0.1, what="j0 is there")
    # The command cannot get there sooner, however the machine is loaded.
    assert time.monotonic() - before > (abs(way) - 0.2) / (0.25 * TOP_SPEED)


def restart(rig: Any, *settings: str) -> None:
    rig.daemon.close()
    rig.daemon = DaemonProcess(rig.config, settings)
    rig.daemon.wait_policy()


def test_from_sensors_to_a_quarter_of_the_speed_and_back(make_rig: Callable[..., Any]) -> None:
    rig = make_rig(STAGES)
    assert rig.status()["stage"]["name"] == "sensors"
    assert "commissioning stage sensors" in refused(rig, "arm")
    assert rig.emulator.ask("state")["power"] is False

    run_is_long_enough(rig)
    assert rig.daemon.request("promote", by="Alice")["name"] == "25"
    rig.daemon.request("arm")
    assert "the motors are energised" in refused(rig, "promote", by="Alice")
    moves_slowly(rig, WAY)

    run_is_long_enough(rig)
    rig.daemon.request("estop")
    rig.wait(lambda: rig.status()["stage"]["broken_by"], what="the run begins anew")
    assert "it began anew because of: emergency stop" in refused(rig, "promote", by="Alice")
    rig.daemon.request("reset")
    rig.daemon.request("arm")
    moves_slowly(rig, -WAY)  # whatever else has set the speed meanwhile
    try:
        restart(rig, STAGES, "joint.j1.offset=0.01")
        assert rig.status()["stage"]["lowered"] == ["joint.j1 has changed since Alice signed it off"]
        assert "stage.lowered" in rig.events()
        assert "joint.j1 has changed" in refused(rig, "arm")
        restart(rig, STAGES)
        assert rig.status()["stage"]["name"] == "25"
        rig.daemon.request("arm")
        rig.daemon.request("disarm")

        (kept,) = rig.config.places.state.glob("stage-*.json")
        kept.write_text(kept.read_text().replace('"25"', '"100"'))
        restart(rig, STAGES)
        assert rig.status()["stage"]["name"] == "sensors"
    finally:
        rig.daemon.close()


_ASK = """
import json, os, sys
path, uid, gid, op, args = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], json.loads(sys.argv[5])
from runtime.link.client import Client
from runtime.link.errors import Refused
os.setgroups([]); os.setgid(gid); os.setuid(uid)
with Client(path, 20) as client:
    try:
        client.request(op, **args)
        print("done")
    except Refused as error:
        print(error.reasons)
"""


def ask_as(rig: Any, uid: int, op: str, **args: Any) -> str:
    gid = os.stat(rig.config.socket.path).st_gid
    words = [sys.executable, "-c", _ASK, rig.config.socket.path, str(uid), str(gid), op, json.dumps(args)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


@needs_root
def test_it_takes_two_people(make_rig: Callable[..., Any]) -> None:
    alice, bob = 54321, 54322
    rig = make_rig(TWO_PEOPLE, 'socket.group="daemon"')
    rig.config.places.run.chmod(0o755)
    run_is_long_enough(rig)
    assert "nobody has operated" in ask_as(rig, bob, "promote", by=f"user {bob}")
    assert ask_as(rig, alice, "preflight") == "done"
    assert f"user {alice} has operated" in ask_as(rig, alice, "promote", by=f"user {alice}")
    assert "the account that signs is" in ask_as(rig, bob, "promote", by="Somebody")
    assert "root cannot sign" in refused(rig, "promote", by="root")
    assert ask_as(rig, bob, "promote", by=f"user {bob}") == "done"
    assert rig.status()["stage"]["name"] == "25"
