"""Real processes, real wires, killed for real: whatever ends, the robot stops."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from runtime.link.errors import Refused
from runtime.spool.layout import find

pytestmark = pytest.mark.system


def test_killed_worker_holds_inside_the_envelope_and_the_run_goes_on(rig: Any) -> None:
    rig.run_policy()
    os.kill(rig.status()["policy"]["pid"], signal.SIGKILL)
    rig.wait(lambda: "policy.crashed" in rig.events(), what="the crash is told")
    rig.wait(lambda: rig.status()["policy"]["restarts"] >= 1, what="the worker is restarted")
    rig.wait(lambda: rig.status()["policy"]["state"] == "ready", what="the policy is ready again")
    rig.wait(lambda: all(rig.moving()), what="the run goes on")
    assert rig.status()["mode"] == "AUTO"
    recording = rig.wait(lambda: rig.status()["recording"]["path"], what="it is recorded")
    rig.daemon.close()

    period, limits = 1 / rig.config.control.rate, rig.config.joints[0]
    commands = []
    with find(Path(recording)).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, _, _, tick in reader.iter_decoded_messages(topics=["/ticks"]):
            if tick.gate:
                commands.append((tick.tick, tick.j0.command))
    # One step may span ticks that were missed; speed and acceleration are bounded per tick that ran.
    steps = [b[1] - a[1] for a, b in itertools.pairwise(commands)]
    assert max(map(abs, steps)) <= limits.velocity_max * period * (1 + 1e-6)
    changes = [abs(b - a) for a, b in itertools.pairwise(steps)]
    assert max(changes) <= limits.acceleration_max * period**2 * (1 + 1e-6)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_motors_stop_through_their_own_watchdogs_when_the_daemon_is_gone(rig: Any, number: signal.Signals) -> None:
    rig.run_policy()
    rig.daemon.kill(number)
    rig.wait(lambda: not any(rig.moving()), what="every motor on both buses stands")


def test_estop_takes_the_torque_and_latches(rig: Any) -> None:
    rig.run_policy()
    assert rig.status()["drive_enable"] is True
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.emulator.ask("state")["power"] is False, what="drive-enable falls")
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    with pytest.raises(Refused, match="cause"):
        rig.daemon.request("reset")
    rig.emulator.ask("press", pressed=False)
    rig.wait(lambda: rig.status()["estop"] == "released", what="the release is seen")
    assert rig.status()["mode"] == "ESTOP", "a release alone changes nothing"
    rig.daemon.request("reset")
    assert rig.status()["mode"] == "STANDBY"
    assert not any(rig.moving()), "a reset never starts motion"
    rig.daemon.request("arm")
    assert rig.status()["mode"] == "HOLD"


def test_operator_estop_over_the_socket(rig: Any) -> None:
    rig.run_policy()
    rig.daemon.request("estop")
    rig.wait(lambda: rig.emulator.ask("state")["power"] is False, what="drive-enable falls")
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")


@pytest.mark.parametrize("joint", ["j0", "j2"])
def test_dead_motor_is_a_fault_that_names_joint_bus_and_id(rig: Any, joint: str) -> None:
    rig.run_policy()
    rig.emulator.ask("fault", joint=joint, kind="dead")
    rig.wait(lambda: rig.status()["mode"] == "FAULT", what="mode FAULT")
    events = rig.daemon.request("events", since=0)["events"]
    lost = next(event for event in events if event["name"] == "joint.lost")
    place = next(j for j in rig.config.joints if j.name == joint)
    assert (lost["fields"]["joint"], lost["fields"]["bus"], lost["fields"]["id"]) == (joint, place.bus, place.id)
    rig.wait(lambda: not any(rig.moving()), what="all others stand too")


@pytest.mark.parametrize(("joint", "kind"), [("j1", "brown_out"), ("j3", "brown_out"), ("j2", "over_temperature")])
def test_motor_that_loses_its_torque_is_a_fault_and_can_be_reset(rig: Any, joint: str, kind: str) -> None:
    rig.run_policy()
    rig.emulator.ask("fault", joint=joint, kind=kind)
    rig.wait(lambda: rig.status()["mode"] == "FAULT", what="mode FAULT")
    rig.emulator.ask("fault", joint=joint, kind="clear")
    rig.wait(rig.reset, what="the fault can be reset")
    rig.run_policy()


def test_robot_runs_over_links_that_lose_a_fifth(make_rig: Callable[..., Any]) -> None:
    rig = make_rig()
    rig.emulator.ask("link", bus="b0", loss=0.002)
    rig.emulator.ask("link", bus="b1", loss=0.2)
    rig.run_policy()
    rig.wait(lambda: sum(bus["lost"] for bus in rig.status()["buses"]) > 20, what="losses are counted")
    assert rig.status()["mode"] == "AUTO"
    assert all(rig.moving())


def test_worker_that_hangs_is_restarted(make_rig: Callable[..., Any]) -> None:
    rig = make_rig("policy.timeout=0.3")
    rig.run_policy()
    os.kill(rig.status()["policy"]["pid"], signal.SIGSTOP)
    rig.wait(lambda: "policy.hung" in rig.events(), what="the hang is told")
    rig.wait(lambda: rig.status()["policy"]["state"] == "ready", what="the policy is ready again")
    rig.wait(lambda: all(rig.moving()), what="the run goes on")


def test_stop_and_disarm_end_motion_and_torque(rig: Any) -> None:
    rig.run_policy()
    rig.daemon.request("stop")
    assert rig.status()["mode"] == "HOLD"
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
    rig.daemon.request("disarm")
    assert rig.status()["mode"] == "STANDBY"
    assert rig.emulator.ask("state")["power"] is False


def test_move_by_hand_goes_where_it_was_told(rig: Any) -> None:
    rig.daemon.request("arm")
    rig.daemon.request("move", joints={"j0": 0.5, "j3": -0.4})
    rig.wait(lambda: abs(rig.positions()[0] - 0.5) < 0.05 and abs(rig.positions()[3] + 0.4) < 0.05, what="there")
    assert rig.status()["mode"] == "MANUAL"


def test_sigterm_stops_the_robot_and_leaves_nothing_behind(rig: Any) -> None:
    rig.run_policy()
    worker = rig.status()["policy"]["pid"]
    rig.daemon.close()
    assert rig.daemon.process.returncode == 0, rig.daemon.log_tail()
    assert rig.emulator.ask("state")["power"] is False
    assert not Path(f"/proc/{worker}").exists()
    assert not Path(rig.config.socket.path).exists()


def test_dead_emulator_is_a_pressed_estop(rig: Any) -> None:
    rig.run_policy()
    rig.emulator.process.kill()
    rig.wait(lambda: rig.status()["mode"] in ("ESTOP", "FAULT"), what="the robot stops")
    assert rig.status()["estop"] == "pressed"


def test_without_an_estop_nothing_is_energised_unless_the_config_says_so(make_rig: Callable[..., Any]) -> None:
    rig = make_rig(estop=False)
    with pytest.raises(Refused) as refused:
        rig.daemon.request("arm")
    assert any("run_without_estop" in reason for reason in refused.value.reasons)
    assert rig.emulator.ask("state")["power"] is False


def test_a_config_may_say_that_it_runs_without_an_estop(make_rig: Callable[..., Any]) -> None:
    rig = make_rig("safety.run_without_estop=true", estop=False)
    rig.daemon.request("arm")
    assert rig.status()["mode"] == "HOLD"


def test_a_motor_with_an_old_fault_is_cleared_by_reset_before_arming(rig: Any) -> None:
    rig.emulator.ask("fault", joint="j2", kind="over_temperature")
    rig.wait(lambda: any(j["fault"] for j in rig.daemon.request("joints")), what="the fault is seen")
    with pytest.raises(Refused) as refused:
        rig.daemon.request("arm")
    assert any("j2" in reason for reason in refused.value.reasons)
    rig.emulator.ask("fault", joint="j2", kind="clear")
    rig.wait(rig.reset, what="the fault is cleared")
    rig.daemon.request("arm")


def test_a_defect_in_a_tick_cuts_power_and_ends_the_daemon(make_rig: Callable[..., Any]) -> None:
    rig = make_rig(program=[str(Path(__file__).parent / "defective_daemon.py")])
    rig.daemon.request("arm")
    rig.daemon.request("move", joints={"j0": 0.5})
    assert rig.daemon.process.wait(20) != 0
    assert rig.emulator.ask("state")["power"] is False
    assert "a defect made for the test" in rig.daemon.log_tail()
    rig.wait(lambda: not any(rig.moving()), what="the robot stands")
