"""Something that the robot works with fails, with the real processes: each reaction, and what takes it back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from runtime.cli.processes import DaemonProcess
from runtime.link.errors import Refused
from tests.system.test_zones import Sender

pytestmark = pytest.mark.system

MakeRig = Callable[..., Any]
CAMERA = 'sensor=[{name="camera",type="datagram",path="{run}/zone.sock",fields={object=3},max_age=0.5}]'
HOME = [-0.6, 0.6, -0.5, 0.5]
HOME_KEY = "degraded.home={j0=-0.6,j1=0.6,j2=-0.5,j3=0.5}"
# A swinging joint stands in for a blocked one: none is slower than 10 rad/s, and its torque is never below 0.
STALL = 'safety.monitor.grip_stall={only=["j0"],warn=0.001,error=0.001,speed=10.0,duration=0.0}'
NEAR = 0.1
"""rad; so far the motors are from where they were sent."""


@pytest.fixture
def sending() -> Iterator[Callable[[Any], Sender]]:
    made: list[Sender] = []

    def send(rig: Any) -> Sender:
        made.append(Sender(rig.config.places.run / "zone.sock", 1.0, 2.0, 3.0))
        return made[-1]

    yield send
    for each in made:
        each.close()


def seeing(make_rig: MakeRig, sending: Callable[[Any], Sender], *settings: str) -> tuple[Any, Sender]:
    """A robot that works with a camera."""
    rig = make_rig(CAMERA, *settings)
    camera = sending(rig)
    rig.wait(lambda: rig.status()["sensors"][0]["age_s"], what="the first reading")
    rig.run_policy()
    return rig, camera


def reactions(rig: Any) -> list[tuple[str, str]]:
    told = [event["fields"] for event in rig.told() if event["name"] == "degraded.reaction"]
    return [(fields["condition"], fields["reaction"]) for fields in told]


def refused(rig: Any, op: str, **args: Any) -> str:
    with pytest.raises(Refused) as refusal:
        rig.daemon.request(op, **args)
    return " | ".join([str(refusal.value), *refusal.value.reasons])


def restart(rig: Any, *settings: str) -> None:
    rig.daemon.close()
    rig.daemon = DaemonProcess(rig.config, settings)
    rig.daemon.wait_policy()


def test_a_camera_that_is_lost_sends_the_robot_home(make_rig: MakeRig, sending: Callable[[Any], Sender]) -> None:
    rig, camera = seeing(make_rig, sending, HOME_KEY)
    camera.close()
    rig.wait(lambda: rig.status()["mode"] == "RETURNING", what="on its way home")
    assert "degraded.sensor" in rig.events(), "its last reading was used first"
    rig.wait(lambda: rig.status()["mode"] == "HOLD", what="at home")
    assert reactions(rig) == [("sensor.camera", "home")]
    rig.wait(lambda: not any(rig.moving()), what="it stands")
    assert rig.positions() == pytest.approx(HOME, abs=NEAR)
    assert rig.status()["health"]["failed_attempts"] == 1
    assert "sensor camera" in refused(rig, "start")
    sending(rig)
    rig.wait(lambda: rig.status()["sensors"][0]["age_s"] < 0.5, what="the camera is back")
    assert rig.status()["mode"] == "HOLD", "and nothing goes on by itself"
    rig.daemon.request("start")


def test_a_camera_that_is_lost_holds_a_robot_without_a_home(
    make_rig: MakeRig, sending: Callable[[Any], Sender]
) -> None:
    rig, camera = seeing(make_rig, sending)
    camera.close()
    rig.wait(lambda: "policy.starved" in rig.events(), what="the plan runs out")
    rig.wait(lambda: not any(rig.moving()), what="it holds")
    assert rig.status()["mode"] == "AUTO"
    sending(rig)
    rig.wait(lambda: all(rig.moving()), what="the run goes on")
    assert reactions(rig) == []


def test_a_camera_that_is_lost_stops_the_robot(make_rig: MakeRig, sending: Callable[[Any], Sender]) -> None:
    rig, camera = seeing(make_rig, sending, 'degraded.sensor.camera={grace=0.0,reaction="stop"}')
    camera.close()
    rig.wait(lambda: rig.status()["mode"] == "STANDBY", what="torque off")
    assert reactions(rig) == [("sensor.camera", "stop")]
    rig.wait(lambda: rig.emulator.ask("state")["power"] is False, what="drive-enable falls")


def test_a_stalled_gripper_lets_go_and_backs_off(make_rig: MakeRig) -> None:
    rig = make_rig(STALL, "degraded.open={j0=1.0}", "degraded.speed=0.2")
    rig.daemon.request("arm")
    rig.daemon.request("start")
    rig.wait(lambda: rig.status()["mode"] == "RETURNING", what="on its way back")
    rig.wait(lambda: rig.status()["mode"] == "HOLD", what="the way back has ended")
    assert reactions(rig) == [("grip_stall.j0", "retreat")]
    rig.wait(lambda: not any(rig.moving()), what="it stands")
    assert rig.positions()[0] == pytest.approx(1.0, abs=NEAR)
    assert "degraded.returned" in rig.events()


def test_a_worker_that_stays_away_sends_the_robot_home(make_rig: MakeRig) -> None:
    # The worker that is started anew takes longer for a chunk than the plan lasts.
    rig = make_rig(HOME_KEY, "policy.latency=1.5", 'degraded.starved={grace=0.0,reaction="home"}')
    rig.daemon.request("arm")
    rig.daemon.request("start")
    rig.wait(lambda: reactions(rig) == [("starved", "home")], what="the plan runs out")
    rig.wait(lambda: rig.status()["mode"] == "HOLD", what="at home")
    rig.wait(lambda: not any(rig.moving()), what="it stands")
    assert rig.positions() == pytest.approx(HOME, abs=NEAR)


def test_a_second_policy_takes_over_while_the_first_has_no_plan(make_rig: MakeRig) -> None:
    fallback = (
        'policy.fallback={backend="swing:Swing",rate=50.0,horizon=50,execute=10,options={joints=4,rate=50.0},'
        'observation=[{source="joint.position"}],action=[{target="joint.position"}]}'
    )
    rig = make_rig(fallback, "policy.latency=0.7")  # a plan lasts for one second, from its observation on
    rig.wait(lambda: rig.status()["policy"]["fallback"] == "ready", what="its worker is ready")
    rig.daemon.request("arm")
    rig.daemon.request("start")
    rig.wait(lambda: rig.status()["policy"]["fallback"] == "moves the robot", what="the plan runs out")
    rig.wait(lambda: "policy.recovered" in rig.events(), what="the first one goes on")
    rig.wait(lambda: rig.events().count("policy.fallback") >= 3, what="to and fro")
    assert all(rig.moving())
    assert rig.status()["mode"] == "AUTO"


def test_failed_attempts_in_a_row_disable_auto_until_a_person_resets(make_rig: MakeRig) -> None:
    few = "degraded.failed_attempts=1"
    rig = make_rig(few)
    rig.daemon.request("arm")
    assert "no run of the policy could have failed" in refused(rig, "stop", failed=True)
    rig.daemon.request("start")
    rig.daemon.request("stop", failed=True)
    rig.daemon.request("start")
    rig.daemon.request("estop")
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")
    assert rig.status()["health"]["auto_disabled"]
    [alert] = [event for event in rig.told() if event["name"] == "degraded.auto_disabled"]
    assert alert["level"] == "error"
    try:
        restart(rig, few)
        assert "degraded.auto_disabled" in rig.events(), "over a restart"
        rig.daemon.request("arm")
        assert "AUTO is disabled" in refused(rig, "start")
        rig.daemon.request("move", joints={"j0": 0.2})
        rig.daemon.request("reset")
        rig.daemon.request("start")
        rig.wait(lambda: all(rig.moving()), what="the policy moves the robot again")
    finally:
        rig.daemon.close()


def test_joints_that_fail_again_and_again_make_the_robot_unhealthy(make_rig: MakeRig) -> None:
    few = "degraded.joint_faults=1"
    rig = make_rig(few)
    for _ in range(2):
        rig.daemon.request("arm")
        rig.emulator.ask("fault", joint="j0", kind="dead")
        rig.wait(lambda: rig.status()["mode"] == "FAULT", what="mode FAULT")
        rig.emulator.ask("fault", joint="j0", kind="clear")
        rig.wait(rig.reset, what="reset")
    assert "the robot is unhealthy" in refused(rig, "arm")
    assert "degraded.unhealthy" in rig.events()
    try:
        restart(rig, few)
        assert "2 times within an hour" in rig.status()["health"]["unhealthy"]
        assert "the robot is unhealthy" in refused(rig, "arm")
        assert "nothing is latched" in refused(rig, "reset")
        rig.daemon.request("reset", healthy=True)
        rig.daemon.request("arm")
    finally:
        rig.daemon.close()
