"""The wall clock jumps by a year, there and back: nothing that moves looks at it."""

from __future__ import annotations

from tests.rig.harness.rig import Rig


def test_clock_stepped(rig: Rig) -> None:
    rig.run_policy()
    pid = rig.main_pid()
    for step in ("+1 year", "-2 years", "+1 year"):
        rig.sh(f"date -s '{step}'")
        assert all(rig.moving()), f"the robot goes on after {step}"
        assert rig.mode() == "AUTO", rig.status()["stop"]
    assert rig.main_pid() == pid
    rig.request("stop")
    rig.request("disarm")
