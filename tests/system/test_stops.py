"""What the safety task asks the loop to do, and what the loop makes of it, with the real processes."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from runtime.link.errors import Refused
from runtime.spool.layout import find

pytestmark = pytest.mark.system

PROGRAM = [str(Path(__file__).parent / "watched_daemon.py")]
MakeRig = Callable[..., Any]


def write(name: str, text: str) -> None:
    """Let the daemon read `name`, all of it or nothing."""
    path = Path(os.environ["STATE_DIRECTORY"]) / name
    path.parent.mkdir(exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


def raise_flags(*flags: tuple[str, str, str]) -> None:
    write("flags.json", json.dumps(flags))


def power(rig: Any) -> bool:
    return bool(rig.emulator.ask("state")["power"])


def commands(path: Path) -> dict[int, tuple[float, ...]]:
    """The commands of all four joints, rad, by tick."""
    found = {}
    with open(path, "rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, _, _, tick in reader.iter_decoded_messages(topics=["/ticks"]):
            if tick.gate:
                found[tick.tick] = tuple(getattr(tick, f"j{number}").command for number in range(4))
    return found


def test_slow_lowers_the_speed_of_a_running_policy_and_gives_it_back(make_rig: MakeRig) -> None:
    rig = make_rig("safety.slow_speed=0.1", program=PROGRAM)
    rig.run_policy()
    fast = rig.status()["tick"]
    raise_flags(("zone.left", "SLOW", "gone"))
    rig.wait(lambda: "safety.flag" in rig.events(), what="the flag is told")
    slowed = {"category": None, "reasons": ["the test says SLOW"]}
    rig.wait(lambda: rig.status()["stop"] == slowed, what="it is in the status")
    first = rig.status()["tick"] + 100  # the ramp takes 20 ticks
    rig.wait(lambda: rig.status()["tick"] > first + 400, what="two seconds")
    last = rig.status()["tick"]
    raise_flags()
    rig.wait(lambda: "safety.flag_gone" in rig.events(), what="its end is told")
    again = rig.status()["tick"]
    rig.wait(lambda: rig.status()["tick"] > again + 500, what="more than a swing")
    assert rig.status()["mode"] == "AUTO", "it never stopped"
    recording = rig.status()["recording"]["path"]
    rig.daemon.close()

    joint, period = rig.config.joints[0], 1 / rig.config.control.rate
    found = commands(find(Path(recording)))
    steps = {
        b: max(abs(x - y) for x, y in zip(found[a], found[b], strict=True)) for a, b in itertools.pairwise(found)
    }
    slow = max(step for tick, step in steps.items() if first <= tick <= last)
    top = 0.1 * joint.velocity_max * period
    assert 0.99 * top <= slow <= top * (1 + 1e-6)
    assert max(step for tick, step in steps.items() if tick < fast) > 2 * top
    assert max(step for tick, step in steps.items() if tick > again) > 2 * top
    speeds = [[b - a for a, b in zip(x, y, strict=True)] for x, y in itertools.pairwise(found.values())]
    changes = [abs(b - a) for x, y in itertools.pairwise(speeds) for a, b in zip(x, y, strict=True)]
    assert max(changes) <= joint.acceleration_max * period**2 * (1 + 1e-6), "along the acceleration, down and up"


def test_a_stop_of_category_2_ends_in_holding(make_rig: MakeRig) -> None:
    rig = make_rig(program=PROGRAM)
    rig.run_policy()
    write("stop", "2")
    rig.wait(lambda: rig.status()["mode"] == "HOLD", what="mode HOLD")
    rig.wait(lambda: rig.status()["stop"]["category"] is None, what="the stop is done")
    assert power(rig)
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    rig.daemon.request("start")
    rig.wait(lambda: all(rig.moving()), what="it can go on")


def test_a_stop_of_category_1_ends_without_power(make_rig: MakeRig) -> None:
    rig = make_rig(program=PROGRAM)
    rig.run_policy()
    write("stop", "1")
    rig.wait(lambda: rig.status()["mode"] == "STANDBY" and not power(rig), what="power off")
    rig.wait(lambda: rig.status()["stop"] == {"category": None, "reasons": []}, what="the stop is done")
    rig.run_policy()


def test_a_hold_that_lasts_refuses_motion_until_it_is_reset(make_rig: MakeRig) -> None:
    rig = make_rig(program=PROGRAM)
    rig.run_policy()
    raise_flags(("zone.left", "HOLD", "reset"))
    rig.wait(lambda: rig.status()["mode"] == "HELD", what="mode HELD")
    assert power(rig)
    with pytest.raises(Refused, match="a stop is in force") as refusal:
        rig.daemon.request("start")
    assert refusal.value.reasons == ("the test says HOLD",)
    with pytest.raises(Refused, match="a stop is in force"):
        rig.daemon.request("move", joints={"j0": 0.1})
    with pytest.raises(Refused, match="the cause still stands"):
        rig.daemon.request("reset")
    raise_flags()
    rig.wait(lambda: "safety.flag_gone" in rig.events(), what="the flag is gone")
    assert rig.status()["mode"] == "HELD", "and changes nothing"
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    rig.daemon.request("reset")
    assert rig.status()["mode"] == "HOLD"
    assert not any(rig.moving()), "a reset never starts motion"
    assert power(rig)
    rig.daemon.request("start")
    rig.wait(lambda: all(rig.moving()), what="it can go on")


def test_a_joint_that_would_fall_keeps_its_torque_until_somebody_disarms(make_rig: MakeRig) -> None:
    rig = make_rig('joint.j3.after_stop="hold"', program=PROGRAM)
    rig.run_policy()
    rig.emulator.ask("fault", joint="j0", kind="dead")
    rig.wait(lambda: rig.status()["mode"] == "HELD", what="mode HELD")
    assert power(rig)
    rig.wait(lambda: not any(rig.moving()[1:]), what="the others stand")
    with pytest.raises(Refused, match="disarm the robot, then reset it"):
        rig.wait(lambda: rig.daemon.request("reset"), what="never")
    rig.emulator.ask("fault", joint="j0", kind="clear")
    rig.daemon.request("disarm")
    assert rig.status()["mode"] == "FAULT", "it is latched all the same"
    assert not power(rig)
    rig.wait(rig.reset, what="reset")


def test_an_estop_that_is_pressed_in_standby_is_shown_as_the_mode(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")
    with pytest.raises(Refused) as refusal:
        rig.daemon.request("arm")
    assert any("the e-stop is pressed" in reason for reason in refusal.value.reasons)
    rig.emulator.ask("press", pressed=False)
    rig.wait(rig.reset, what="reset")
    assert rig.status()["mode"] == "STANDBY"
    rig.daemon.request("arm")
