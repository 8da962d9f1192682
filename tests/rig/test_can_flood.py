"""Foreign frames fill the bus: the robot goes on, because they do not reach the daemon."""

from __future__ import annotations

import json

from tests.rig.harness.rig import Rig

FULL_LOAD = 1_000_000 / 125
"""Frames per second of a full bus at 1 Mbit/s: 8 bytes of data, about 125 bits with stuffing."""
SECONDS = 6


def frames(rig: Rig) -> int:
    return int(json.loads(rig.sh("ip -s -j link show vcan0"))[0]["stats64"]["tx"]["packets"])


def test_can_flood(rig: Rig) -> None:
    rig.run_policy()
    before = frames(rig)
    done = rig.run(f"timeout {SECONDS} cangen vcan0 -g 0 -p 10 -I 321 -L 8 -D i", timeout_s=60.0)
    assert done.code == 124, done
    rate = (frames(rig) - before) / SECONDS
    assert rate > FULL_LOAD, f"only {rate:.0f} frames/s"
    assert rig.mode() == "AUTO", rig.status()["stop"]
    assert all(rig.moving())
    rig.note(f"{rate:.0f} foreign frames/s, {FULL_LOAD:.0f} fill a bus at 1 Mbit/s")
    rig.request("disarm")
