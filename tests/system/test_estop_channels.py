"""An e-stop with two channels, and the time of a release, with the real processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from runtime.link.errors import Refused

pytestmark = pytest.mark.system

SECOND = 'safety.estop_second={type="emulated",path="{run}/gpio.sock",line="estop_second"}'


@pytest.mark.parametrize("channel", ["estop", "estop_second"])
def test_one_channel_stops_the_robot_and_a_fault_of_the_other_is_found(
    make_rig: Callable[..., Any], channel: str
) -> None:
    rig = make_rig(SECOND)
    rig.run_policy()
    rig.emulator.ask("press", pressed=True, channels=[channel])
    rig.wait(lambda: rig.emulator.ask("state")["power"] is False, what="drive-enable falls")
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")
    rig.wait(lambda: "channels differ" in str(rig.status()["stop"]["reasons"]), what="the fault is found")
    rig.emulator.ask("press", pressed=False)
    rig.wait(lambda: rig.status()["estop"] == "released", what="the release is seen")
    with pytest.raises(Refused, match="the cause still stands") as refusal:
        rig.daemon.request("reset")
    assert "press and release it" in str(refusal.value.reasons)

    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.status()["estop"] == "pressed", what="the press is seen")
    rig.emulator.ask("press", pressed=False)
    rig.wait(lambda: rig.status()["estop"] == "released", what="the release is seen")
    rig.daemon.request("reset")
    rig.run_policy()


def test_a_release_counts_when_it_has_lasted(make_rig: Callable[..., Any]) -> None:
    rig = make_rig("safety.estop_release=1.0")
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.status()["estop"] == "pressed", what="the press is seen")
    let_go = time.monotonic()
    rig.emulator.ask("press", pressed=False)
    rig.wait(lambda: rig.status()["estop"] == "released", what="the release is seen")
    assert time.monotonic() - let_go >= 1.0
