"""Start, arm, run, stop, disarm by a member of the operators' group; refused for others."""

from __future__ import annotations

from tests.rig.harness.rig import STRANGER, Rig

NOT_PERMITTED = 4


def do(rig: Rig, *words: str) -> None:
    done = rig.ctl(*words)
    assert done.code == 0, f"reflexctl {' '.join(words)}: {done}"


def test_operate(rig: Rig) -> None:
    assert rig.mode() == "STANDBY"
    assert not rig.drive_enable()
    for words in (["arm"], ["start"], ["move", "j0=0.5"]):
        done = rig.ctl(*words, user=STRANGER)
        assert done.code == NOT_PERMITTED, f"a stranger's {words[0]}: {done}"
    assert rig.mode() == "STANDBY"

    rig.policy_ready()
    do(rig, "arm")
    do(rig, "start")
    rig.wait(lambda: all(rig.moving()), what="every joint moves")
    assert rig.mode() == "AUTO"
    assert rig.drive_enable()

    do(rig, "stop")
    assert rig.mode() == "HOLD"
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    assert rig.drive_enable(), "a stop of category 2 holds with torque"

    do(rig, "move", "j0=0.5", "j3=-0.4")
    rig.wait(lambda: abs(rig.positions()[0] - 0.5) < 0.08 and abs(rig.positions()[3] + 0.4) < 0.08, what="there")

    do(rig, "disarm")
    assert rig.mode() == "STANDBY"
    assert not rig.drive_enable()
    rig.wait(lambda: rig.torques() == [0.0] * 4, what="no motor has torque")
