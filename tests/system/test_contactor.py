"""The contactor behind drive-enable, welded and stuck, with the real processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runtime.link.errors import Refused

pytestmark = pytest.mark.system

FEEDBACK = 'safety.drive_feedback={type="emulated",path="{run}/gpio.sock",line="drive_feedback"}'


@pytest.fixture
def wired(make_rig: Callable[..., Any]) -> Any:
    """A rig whose daemon reads the contactor's feedback."""
    return make_rig(FEEDBACK)


def test_it_follows_and_the_robot_runs(wired: Any) -> None:
    for _ in range(3):
        wired.run_policy()
        wired.daemon.request("disarm")
        wired.wait(lambda: wired.emulator.ask("state")["power"] is False, what="power falls")
    assert wired.status()["stop"]["reasons"] == []


def test_a_stuck_one_is_a_refusal_to_arm(wired: Any) -> None:
    wired.emulator.ask("contactor", kind="stuck")
    with pytest.raises(Refused, match="drive-enable fell") as refusal:
        wired.daemon.request("arm")
    assert "has not closed: it is stuck" in str(refusal.value.reasons)
    assert wired.status()["stop"]["category"] == 0, "latched"
    assert wired.status()["drive_enable"] is False
    wired.emulator.ask("contactor", kind="good")
    wired.daemon.request("reset")
    wired.run_policy()


def test_a_welded_one_is_found_when_power_is_taken_away(wired: Any) -> None:
    wired.run_policy()
    wired.emulator.ask("contactor", kind="welded")
    wired.emulator.ask("press", pressed=True)
    wired.wait(lambda: "welded" in str(wired.status()["stop"]["reasons"]), what="the contactor is found welded")
    wired.wait(lambda: not any(wired.moving()), what="the motors were switched off through their buses")
    wired.emulator.ask("press", pressed=False)
    wired.wait(lambda: wired.status()["estop"] == "released", what="the release is seen")
    with pytest.raises(Refused, match="the cause still stands") as refusal:
        wired.daemon.request("reset")
    assert "it is welded" in str(refusal.value.reasons)
    wired.emulator.ask("contactor", kind="good")
    wired.wait(lambda: wired.emulator.ask("state")["power"] is False, what="power falls")
    wired.wait(wired.reset, what="reset")
    assert wired.status()["mode"] == "STANDBY"
