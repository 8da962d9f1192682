"""The reset button, with the real processes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.system

BUTTON = 'safety.reset={type="emulated",path="{run}/gpio.sock",line="reset"}'


def stop(rig: Any) -> None:
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")


def release(rig: Any) -> None:
    rig.emulator.ask("press", pressed=False)
    rig.wait(lambda: rig.status()["estop"] == "released", what="the release is seen")


def press(rig: Any) -> None:
    """Press and let go. Again, until something happens: a daemon that was away has seen neither."""
    for pressed in (True, False):
        rig.emulator.ask("reset_button", pressed=pressed)
        rig.status()


def test_it_resets_when_it_is_let_go_and_starts_nothing(make_rig: Callable[..., Any]) -> None:
    rig = make_rig(BUTTON)
    rig.run_policy()
    stop(rig)
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    release(rig)
    rig.emulator.ask("reset_button", pressed=True)
    rig.emulator.ask("state")
    assert rig.status()["mode"] == "ESTOP", "pressing alone does nothing"
    rig.wait(lambda: press(rig) or rig.status()["mode"] == "STANDBY", what="the reset")
    assert rig.status()["drive_enable"] is False
    assert not any(rig.moving())
    rig.run_policy()


def test_it_is_refused_while_the_cause_stands(make_rig: Callable[..., Any]) -> None:
    rig = make_rig(BUTTON)
    rig.daemon.request("arm")
    stop(rig)
    rig.wait(lambda: press(rig) or "reset_button.refused" in rig.events(), what="the refusal is told")
    assert rig.status()["mode"] == "ESTOP"
