"""What the loop makes of a failure while the policy runs: it holds, stops, goes home or back, and then stands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from runtime.config.degraded import Degraded, LostCamera, LostSensor, Starved
from runtime.control.modes import Mode, ModeError
from safety.action import Action
from safety.watch import Clear, Flag
from tests.control.conftest import PERIOD_NS, World, build

TOP, DT = 2.0, PERIOD_NS / 1e9
HOME = {"a": -0.5, "b": 0.25}
MAX_AGE_S = 0.1
STALLED = Flag("grip_stall.b", Action.WARN, Clear.GONE, "the gripper is stalled")


class Camera:
    name = "camera"

    def __init__(self) -> None:
        self.stamp_ns = 1


def made(options: Degraded, **after_stop: str) -> tuple[World, Camera]:
    camera = Camera()
    return build(options, [(camera, MAX_AGE_S)], **after_stop), camera


def run(world: World, camera: Camera | None, seconds: float, see: bool = True) -> None:
    """The policy moves both joints at 0.5 rad/s for as long as it is asked."""
    for _ in range(round(seconds / DT)):
        if camera is not None and see:
            camera.stamp_ns = (world.number + 1) * PERIOD_NS
        asked = len(world.policy.asked)
        world.tick()
        if len(world.policy.asked) > asked and world.loop.modes.mode == Mode.AUTO:
            start = world.loop.command.copy()
            world.answer(start + 0.01 * np.arange(50)[:, None])


def started(options: Degraded, **after_stop: str) -> tuple[World, Camera]:
    world, camera = made(options, **after_stop)
    world.arm()
    world.loop.start_auto()
    run(world, camera, 1.0)
    assert world.loop.command[0] > 0.3, "it moves"
    return world, camera


def events(world: World, name: str) -> list[Any]:
    return [event for event in world.events.recent if event.name == name]


def until(world: World, mode: Mode, seconds: float = 60.0) -> None:
    for _ in range(round(seconds / DT)):
        if world.loop.modes.mode == mode:
            return
        world.tick()
    raise AssertionError(f"mode {world.loop.modes.mode.name}, expected {mode.name}")


def speeds(world: World, first: int) -> Any:
    return np.abs(np.diff([c for c in world.bus.commands[first:] if c is not None], axis=0)).max(axis=0) / DT


def test_a_lost_camera_the_last_reading_for_a_while_then_slowly_home() -> None:
    world, camera = started(Degraded(home=HOME, sensor={"camera": LostSensor(grace=0.3)}))
    run(world, camera, 0.35, see=False)
    assert world.loop.modes.mode == Mode.AUTO
    asked = len(world.policy.asked)
    assert world.clock[0] - world.policy.asked[-1] < 200e6, "the policy is asked with the last reading"
    [told] = events(world, "degraded.sensor")
    assert "its last reading is used for 0.3 s" in told.message
    run(world, camera, 0.1, see=False)
    assert world.loop.modes.mode in (Mode.STOPPING, Mode.RETURNING)
    assert len(world.policy.asked) - asked <= 1
    [reaction] = events(world, "degraded.reaction")
    assert (reaction.fields["condition"], reaction.fields["reaction"]) == ("sensor.camera", "home")
    until(world, Mode.RETURNING)
    first = len(world.bus.commands)
    with pytest.raises(ModeError):
        world.loop.start_auto()
    until(world, Mode.HOLD)
    assert world.sent() == pytest.approx([HOME["a"], HOME["b"]], abs=1e-6)
    assert (speeds(world, first) <= 0.1 * TOP * 1.05).all(), "slowly"
    assert world.powered_off == []
    assert world.health.failed_attempts == 1
    assert events(world, "degraded.returned")[0].level == "info"
    camera.stamp_ns = world.clock[0]
    world.tick(50)
    assert world.loop.modes.mode == Mode.HOLD, "nothing goes on by itself"


def test_a_camera_that_is_back_within_its_grace_changes_nothing() -> None:
    world, camera = started(Degraded(home=HOME))
    for _ in range(3):
        run(world, camera, 0.5, see=False)
        run(world, camera, 0.3)
    assert world.loop.modes.mode == Mode.AUTO
    assert world.planner.starved_ticks == 0
    assert len(events(world, "degraded.sensor")) == 3
    assert world.health.failed_attempts == 0


@pytest.mark.parametrize(
    "options", [Degraded(), Degraded(home=HOME, sensor={"camera": LostSensor(grace=0.0, reaction="hold")})]
)
def test_without_a_home_or_with_hold_the_robot_waits_and_goes_on(options: Degraded) -> None:
    world, camera = started(options)
    run(world, camera, 3.0, see=False)
    assert world.loop.modes.mode == Mode.AUTO
    assert events(world, "policy.starved")
    stood = world.sent().copy()
    run(world, camera, 0.2, see=False)
    assert world.sent() == pytest.approx(stood)
    run(world, camera, 0.5)
    assert (world.sent() > stood + 0.05).all()
    assert world.health.failed_attempts == 0


@pytest.mark.parametrize(("after_stop", "end"), [({}, Mode.STANDBY), ({"b": "hold"}, Mode.HOLD)])
def test_a_stop_takes_the_torque_unless_a_joint_would_fall(after_stop: dict[str, str], end: Mode) -> None:
    world, camera = started(Degraded(sensor={"camera": LostSensor(grace=0.0, reaction="stop")}), **after_stop)
    run(world, camera, 0.3, see=False)
    until(world, end, 1.0)
    assert world.powered_off == ([Mode.STANDBY] if end == Mode.STANDBY else [])
    assert world.health.failed_attempts == 1


def test_a_stalled_gripper_stops_lets_go_and_backs_off_the_way_it_came() -> None:
    world, _ = started(Degraded(open={"b": -1.0}, retreat=0.5))
    world.flags.append(STALLED)
    came = [c.copy() for c in world.bus.commands if c is not None]
    world.tick()
    assert world.loop.modes.mode == Mode.STOPPING
    world.flags.clear()
    until(world, Mode.RETURNING)
    first, stood = len(world.bus.commands), world.sent().copy()
    until(world, Mode.HOLD)
    sent = np.array([c for c in world.bus.commands[first:] if c is not None])
    let_go = int(np.argmax(sent[:, 1] < -0.99))
    assert sent[let_go, 0] == pytest.approx(stood[0]), "it lets go before it moves"
    assert sent[-1, 1] == pytest.approx(-1.0)
    back = stood[0] - sent[-1, 0]
    ramp = stood[0] - came[-1][0]
    assert 0.4 * 0.5 <= back - ramp <= 0.5 * 0.5 + 0.03, "half a second of its way, and the ramp"
    assert (np.diff(sent[let_go:, 0]) <= 1e-9).all(), "the way that it came, and no other"
    assert (speeds(world, first) <= 0.1 * TOP * 1.05).all()
    [reaction] = events(world, "degraded.reaction")
    assert reaction.message == "the gripper is stalled: retreat"
    assert world.health.failed_attempts == 1


def test_a_retreat_goes_no_further_back_than_the_run_began() -> None:
    world, camera = started(Degraded(open={"b": 0.0}, retreat=5.0))
    world.loop.stop(Mode.HOLD)
    until(world, Mode.HOLD)
    world.loop.move({0: 1.0, 1: 0.0})
    world.tick(100)
    world.loop.start_auto()
    run(world, camera, 0.4)
    world.flags.append(STALLED)
    until(world, Mode.HOLD)
    assert world.sent()[0] == pytest.approx(1.0, abs=1e-6)


def test_a_plan_that_stays_out_waits_its_grace_and_then_goes_home() -> None:
    world, camera = started(Degraded(home=HOME, starved=Starved(grace=2.0, reaction="home")))
    world.policy.ready = False
    run(world, camera, 1.5)
    assert world.planner.starved
    world.policy.ready = True
    world.policy.busy = False
    run(world, camera, 1.0)
    assert not world.planner.starved, "it came back in time"
    world.policy.ready = False
    run(world, camera, 2.9)
    assert world.loop.modes.mode == Mode.AUTO
    run(world, camera, 0.3)
    assert world.loop.modes.mode != Mode.AUTO
    until(world, Mode.HOLD)
    assert world.sent() == pytest.approx([HOME["a"], HOME["b"]], abs=1e-6)


@pytest.mark.parametrize("moment", [Mode.STOPPING, Mode.RETURNING])
@pytest.mark.parametrize(
    ("stop", "end"),
    [
        (lambda world: world.loop.stop(Mode.HOLD), Mode.HOLD),
        (lambda world: world.loop.stop(Mode.STANDBY), Mode.STANDBY),
        (lambda world: world.order(Action.HOLD, latched=True), Mode.HELD),
        (lambda world: world.order(Action.CONTROLLED_STOP, latched=True), Mode.FAULT),
        (lambda world: world.gate.close("torque off"), Mode.ESTOP),
    ],
)
def test_every_stop_goes_before_a_way_home(moment: Mode, stop: Callable[[World], None], end: Mode) -> None:
    world, camera = started(Degraded(home=HOME))
    run(world, camera, 0.62, see=False)
    until(world, moment)
    world.tick(2)
    world.cut_mode[0] = end
    far = abs(float(world.sent()[0]) - HOME["a"])
    stop(world)
    until(world, end, 1.0)
    assert abs(float(world.loop.command[0]) - HOME["a"]) > far - 0.2, "it went no further"
    world.tick(100)
    assert world.loop.modes.mode == end


def test_a_robot_that_the_envelope_keeps_from_home_holds_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world, camera = started(Degraded(home=HOME))
    apply = world.loop._envelope.apply

    def walled(goal: Any, out: Any) -> None:
        apply(np.maximum(goal, 0.0), out)

    monkeypatch.setattr(world.loop._envelope, "apply", walled)
    run(world, camera, 0.62, see=False)
    until(world, Mode.HOLD)
    [returned] = events(world, "degraded.returned")
    assert returned.level == "warning"
    assert returned.fields["left_rad"] == pytest.approx(0.5, abs=0.01)
    assert world.loop.goal == pytest.approx(world.loop.command), "and does not go on later"


@pytest.mark.parametrize(
    ("end", "failed"),
    [
        (lambda world: world.loop.stop(Mode.HOLD), 0),
        (lambda world: world.loop.stop(Mode.HOLD, "an operator says so"), 1),
        (lambda world: world.order(Action.HOLD), 1),
        (lambda world: world.gate.close("the e-stop is pressed"), 1),
        (lambda world: world.state.fault.__setitem__(0, 9), 1),
    ],
)
def test_what_makes_a_run_a_failed_attempt(end: Callable[[World], None], failed: int) -> None:
    world, _ = started(Degraded())
    end(world)
    world.tick(30)
    assert world.loop.modes.mode != Mode.AUTO
    assert world.health.failed_attempts == failed


def test_joints_that_fail_together_or_one_after_the_other_in_a_stop_are_one_fault() -> None:
    world, _ = started(Degraded())
    world.state.fault[0] = 9
    world.tick()
    world.state.fault[1] = 9
    world.tick(5)
    assert world.health.joint_faults == 1
    assert world.health.failed_attempts == 1


def test_a_camera_that_cannot_be_believed_the_policy_is_not_asked_then_slowly_home() -> None:
    camera = Camera()
    world = build(Degraded(home=HOME, camera={"camera": LostCamera(grace=0.6)}), cameras=[(camera, MAX_AGE_S)])
    world.arm()
    world.loop.start_auto()
    run(world, camera, 1.0)
    asked = len(world.policy.asked)
    run(world, camera, 0.65, see=False)
    assert world.loop.modes.mode == Mode.AUTO
    assert world.policy.asked[-1] - camera.stamp_ns <= MAX_AGE_S * 1e9, "not with an old picture"
    assert len(world.policy.asked) - asked <= 1
    [told] = events(world, "policy.blind")
    assert "camera camera is too old" in told.message
    assert not events(world, "degraded.sensor")
    run(world, camera, 0.1, see=False)
    [reaction] = events(world, "degraded.reaction")
    assert (reaction.fields["condition"], reaction.fields["reaction"]) == ("camera.camera", "home")


def test_a_camera_that_comes_back_in_time_and_the_run_goes_on() -> None:
    camera = Camera()
    world = build(Degraded(home=HOME), cameras=[(camera, MAX_AGE_S)])
    world.arm()
    world.loop.start_auto()
    run(world, camera, 1.0)
    run(world, camera, 0.5, see=False)
    asked = len(world.policy.asked)
    run(world, camera, 0.5)
    assert world.loop.modes.mode == Mode.AUTO
    assert len(world.policy.asked) > asked
