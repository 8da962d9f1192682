"""Arming checks through the real daemon: all reasons at once, and nothing is energised meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runtime.link.errors import Refused

pytestmark = pytest.mark.system


def test_every_reason_is_told_at_once_and_preflight_tells_the_same(make_rig: Callable[..., Any]) -> None:
    rig = make_rig("safety.arming={temperature_max=10.0,disk_free=1e12}")
    rig.emulator.ask("fault", joint="j2", kind="over_temperature")
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="the e-stop is latched")
    rig.wait(lambda: any(joint["fault"] for joint in rig.daemon.request("joints")), what="the fault is seen")
    with pytest.raises(Refused) as refused:
        rig.daemon.request("arm")
    assert refused.value.code == "mode"
    reasons = refused.value.reasons
    for words in ("the e-stop is pressed", "disk_free", *(f"joint j{number} (bus b" for number in range(4))):
        assert any(words in reason for reason in reasons), (words, reasons)
    assert sum("temperature_max" in reason for reason in reasons) == 4
    assert rig.emulator.ask("state")["power"] is False

    found = rig.daemon.request("preflight")
    assert found["ready"] is False
    assert {name for name, told in found["checks"].items() if told} == {"mode", "e-stop", "joints", "disk"}
    assert len(found["checks"]) == 15


def test_preflight_of_a_robot_that_is_well_leaves_it_as_it_is(rig: Any) -> None:
    found = rig.daemon.request("preflight")
    assert found["ready"] is True, found
    assert rig.status()["mode"] == "STANDBY"
    assert rig.emulator.ask("state")["power"] is False
    rig.daemon.request("arm")
    found = rig.daemon.request("preflight")
    assert found["checks"].pop("mode") == ["found HOLD, expected STANDBY; disarm it first"]
    assert not any(found["checks"].values()), "what holds while it is armed is no reason"


def test_a_policy_that_does_not_start_is_a_reason(make_rig: Callable[..., Any]) -> None:
    rig = make_rig('policy.backend="swing:Nothing"', policy=False)
    rig.wait(lambda: rig.status()["policy"]["state"] == "failed", what="the policy has failed")
    with pytest.raises(Refused) as refused:
        rig.daemon.request("arm")
    (reason,) = refused.value.reasons
    assert reason.startswith("the policy is not ready: the policy worker cannot start: ")
