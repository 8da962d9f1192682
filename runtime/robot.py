"""The robot as its operator sees it: connect, arm, start, stop, disarm, reset; each happens or says why not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drivers.bus import Bus
from drivers.errors import BusError
from drivers.joint import Joint
from drivers.sensor import Sensor
from drivers.state import JointState
from runtime.arming.arming import Arming
from runtime.control.loop import ControlLoop
from runtime.control.modes import LATCHED, Mode, ModeError
from runtime.degraded.health import Health
from runtime.events import Events
from runtime.link.errors import Refused
from runtime.policy.commands import CommandError
from runtime.policy.planner import Planner
from runtime.policy.tasks import TaskError
from safety.gate import Gate
from safety.supervisor import Supervisor

_FRESH_TIMEOUT_S = 1.0
_STOP_TIMEOUT_S = 10.0


class Robot:
    """The operator's verbs. All of them run on the loop's thread, between ticks."""

    def __init__(
        self,
        joints: Sequence[Joint],
        buses: Sequence[Bus],
        sensors: Sequence[Sensor],
        state: JointState,
        loop: ControlLoop,
        gate: Gate,
        supervisor: Supervisor,
        planner: Planner | None,
        events: Events,
        arming: Arming,
        health: Health,
    ) -> None:
        self._joints = joints
        self._buses = buses
        self._sensors = sensors
        self._state = state
        self._loop = loop
        self._gate = gate
        self._supervisor = supervisor
        self._planner = planner
        self._events = events
        self._arming = arming
        self._health = health
        self._lock = asyncio.Lock()
        self._off = asyncio.Event()
        self._off.set()
        self._off_confirmed = True
        """All motors have confirmed that their torque is off, or were never energised."""
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        return self._loop.modes.mode

    async def connect(self) -> None:
        """Find every motor, open every sensor; nothing is energised. Raises the errors of all of them at once."""
        results = await asyncio.gather(
            *(bus.connect() for bus in self._buses),
            *(sensor.open() for sensor in self._sensors),
            return_exceptions=True,
        )
        errors = [result for result in results if isinstance(result, Exception)]
        if errors:
            raise ExceptionGroup("the robot is not as its config says", errors)
        self._tell_warnings()
        self._loop.modes.request("connected")

    async def preflight(self) -> dict[str, Any]:
        """Run the arming checks and do nothing else: `ready`, and the failing reasons of each check."""
        found = await self._arming.look()
        advice = "reset" if self.mode in LATCHED else "disarm"
        mode = (
            [] if self.mode == Mode.STANDBY else [f"found {self.mode.name}, expected STANDBY; {advice} it first"]
        )
        found = {"mode": mode, **found}
        return {"ready": not any(found.values()), "checks": found}

    async def arm(self) -> None:
        """Energise the motors and hold the measured position. Raises Refused with every failing check."""
        async with self._lock:
            try:
                self._loop.modes.allowed("arm")
            except ModeError as error:
                # Without torque whoever is refused is told of all that is in the way.
                checks = {} if self._loop.modes.energised else await self._arming.look()
                raise Refused("mode", str(error), _flat(checks)) from None
            await self._off.wait()
            if reasons := _flat(await self._arming.look()):
                raise Refused("not_ready", "the robot cannot be armed", reasons)
            if reasons := self._supervisor.arm():
                raise Refused("not_safe", "the safety task does not allow it", reasons)
            self._off_confirmed = False
            try:
                await self._power_flows()
                await self._gather("enable")
                self._tell_warnings()
                await self._fresh_reading()
            except BaseException as error:
                await self._power_off()
                if isinstance(error, BusError | TimeoutError):
                    raise Refused("motors", "the motors could not be energised", [str(error)]) from None
                raise
            self._loop.hold_here()
            if not self._gate.open():
                await self._power_off()
                raise Refused("not_safe", "the safety task stopped the robot while it was being armed")
            self._loop.modes.request("arm")
            self._off.clear()
        self._events.emit("robot.armed", "armed: holding the measured position")

    def start(self) -> None:
        """Let the policy move the robot. Raises Refused."""
        self._refuse_stopped()
        if self._planner is None:
            raise Refused("no_policy", "there is no policy: the config has no [policy]")
        if not self._planner.policy.ready:
            raise Refused("policy", "the policy is not ready; `reflexctl status` tells why")
        if stale := _flat(self._arming.look_quickly(("sensors", "cameras"))):
            raise Refused("not_ready", "the policy cannot be started", stale)
        if reasons := self._health.bars_auto():
            raise Refused("not_ready", "the policy cannot be started", reasons)
        try:
            self._loop.start_auto()
        except ModeError as error:
            raise Refused("mode", str(error)) from None
        self._events.emit("robot.started", "the policy moves the robot")

    async def stop(self, failed: bool = False) -> None:
        """Ramp to a stop and hold (stop category 2); returns when the robot stands.

        `failed`: count the run of the policy as a failed attempt. Raises Refused when there is none.
        """
        if failed and self.mode != Mode.AUTO:
            raise Refused("mode", f"stop: no run of the policy could have failed in mode {self.mode.name}")
        self._stop(Mode.HOLD, "an operator says so" if failed else "")
        await self._until(lambda: self.mode != Mode.STOPPING, "the robot did not come to rest")

    async def disarm(self) -> None:
        """Ramp to a stop, then torque off (stop category 1); returns when the motors have confirmed.

        Torque off on every joint, whatever its `after_stop`: somebody wants it now. What is latched stays latched.
        """
        self._stop(Mode.STANDBY)
        await self._until(lambda: self.mode != Mode.STOPPING, "the robot did not come to rest")
        await self._off.wait()

    def estop(self, who: str) -> None:
        """Torque off at once (stop category 0); latched until reset."""
        self._supervisor.request_stop(0, f"requested by {who}")

    async def reset(self, healthy: bool = False) -> None:
        """Clear what is latched, once its cause is gone. Never starts motion. Raises Refused.

        `healthy`: an unhealthy robot was mended.
        """
        async with self._lock:
            latched = self.mode in LATCHED or self._supervisor.latched or self._state.fault.any()
            if not latched and not self._health.needs_reset(healthy):
                raise Refused("mode", f"reset: nothing is latched (mode {self.mode.name})")
            if self._loop.modes.energised:
                self._reset_energised()
                self._health.reset(healthy)
                return
            await self._off.wait()
            if reasons := self._supervisor.reset():
                raise Refused("not_safe", "the cause still stands", reasons)
            try:
                await self._gather("clear_faults")
                self._tell_warnings()
            except BusError as error:
                raise Refused("motors", "the motors' faults could not be cleared", [str(error)]) from None
            self._state.missed[:] = 0
            if self.mode in LATCHED:
                self._loop.modes.request("reset")
            self._health.reset(healthy)
        self._events.emit("robot.reset", "reset: standing by, torque off")

    def move(self, targets: Mapping[str, float]) -> None:
        """Move joints to angles (rad) by hand, along the envelope. Raises Refused."""
        self._refuse_stopped()
        index = {joint.name: number for number, joint in enumerate(self._joints)}
        problems = []
        for name, angle in targets.items():
            if name not in index:
                problems.append(f"unknown joint {name!r}; known: {', '.join(index)}")
                continue
            joint = self._joints[index[name]]
            if not joint.position_min <= angle <= joint.position_max:
                problems.append(
                    f"{name}={angle:g} rad is outside {joint.position_min:g} .. {joint.position_max:g}"
                )
        if problems:
            raise Refused("bad_value", "nothing was moved", problems)
        try:
            self._loop.move({index[name]: angle for name, angle in targets.items()})
        except ModeError as error:
            raise Refused("mode", str(error)) from None

    def command(self, values: Mapping[str, float]) -> None:
        """Set operator commands of the policy. Raises Refused."""
        if self._planner is None:
            raise Refused("no_policy", "there is no policy: the config has no [policy]")
        try:
            self._planner.commands.set(values)
        except CommandError as error:
            raise Refused("bad_value", "nothing was changed", [str(error)]) from None

    def task(self, name: str | None = None, prompt: str | None = None) -> None:
        """Change the policy's task, from its next chunk on: to the one called `name`, or to `prompt`, words of the
        operator's own. Raises Refused."""
        if self._planner is None:
            raise Refused("no_policy", "there is no policy: the config has no [policy]")
        if not self._planner.source.has_tasks:
            why = "it is not ready; `reflexctl status` tells why"
            if self._planner.policy.ready:
                why = "its observation has no source `task` or `task.one_hot`, and its backend takes no prompt"
            raise Refused("policy", "the policy would not learn of a task", [why])
        tasks = self._planner.tasks
        before = tasks.now
        try:
            changed = tasks.choose(name) if name is not None else tasks.say(prompt or "")
        except TaskError as error:
            raise Refused("bad_value", "the task was not changed", [str(error)]) from None
        if changed:
            told = f"the policy's task changes from {before} to {tasks.now}, with its next chunk"
            self._events.emit("policy.task", told, **tasks.now.recorded())

    def power_off(self, mode: Mode) -> None:
        """Called by the loop when the motors must be off from now on: see that they are."""
        self._gate.close(f"mode {mode.name}")
        task = asyncio.get_running_loop().create_task(self._power_off())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self, clean: bool = True) -> None:
        """Controlled stop, torque off, everything closed. Never raises.

        `clean`: nothing has failed. The hardware watchdog is disarmed then, if the motors are known to be off.
        """
        try:
            await self.disarm()
        except Refused as error:
            self._events.emit("robot.stop_failed", f"{error}: cutting power", level="error")
        self._supervisor.stop(clean and (self._off_confirmed or self._supervisor.power_cut))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(
            *(bus.close() for bus in self._buses),
            *(sensor.close() for sensor in self._sensors),
            return_exceptions=True,
        )
        self._loop.modes.closed()

    def _reset_energised(self) -> None:
        """The torque stays on, so the motors' own errors cannot be cleared."""
        if self.mode == Mode.STOPPING:
            raise Refused("mode", "reset: the robot is still stopping; wait until it stands")
        if self.mode == Mode.HELD and (reasons := _flat(self._arming.look_quickly(("joints", "sensors")))):
            raise Refused("not_ready", "disarm the robot, then reset it: it could not be armed as it is", reasons)
        if reasons := self._supervisor.reset():
            raise Refused("not_safe", "the cause still stands", reasons)
        if self.mode == Mode.HELD:
            self._loop.release()
        self._events.emit("robot.reset", f"reset: torque stays on, mode {self.mode.name}")

    def _refuse_stopped(self) -> None:
        """Nothing starts to move while a stop is in force."""
        if self._supervisor.category is not None:
            raise Refused("not_safe", "a stop is in force", self._supervisor.reasons)

    def _stop(self, then: Mode, failed: str = "") -> None:
        if self._loop.modes.energised:
            self._loop.stop(then, failed)

    async def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while not done():
            if time.monotonic() > deadline:
                self._supervisor.request_stop(0, otherwise)
                raise Refused("timeout", f"{otherwise} within {_STOP_TIMEOUT_S:g} s: power was cut")
            await asyncio.sleep(0.005)

    async def _power_off(self) -> None:
        """Torque off on every bus, confirmed as far as motors answer, then drive-enable off."""
        self._gate.close("power off")
        try:
            await self._gather("disable")
            self._off_confirmed = True
        except BusError as error:
            self._off_confirmed = False
            self._events.emit(
                "robot.not_off", f"torque off was not confirmed: {error}; cutting drive-enable", level="error"
            )
        self._supervisor.disarm()
        self._off.set()

    async def _power_flows(self) -> None:
        """Wait for the contactor. The safety task latches a fault when it does not close in time."""
        while not self._supervisor.power_confirmed:
            if not self._supervisor.drive_enabled:
                reasons = self._supervisor.latched
                raise Refused("not_safe", "drive-enable fell while the robot was being armed", reasons)
            await asyncio.sleep(0.002)

    async def _gather(self, action: str) -> None:
        """Run one async method of all buses at once. Raises one BusError with everything that went wrong."""
        results = await asyncio.gather(*(getattr(bus, action)() for bus in self._buses), return_exceptions=True)
        problems: list[str] = []
        for result in results:
            if isinstance(result, BusError):
                problems += [f"{result.bus}: {problem}" for problem in result.problems]
            elif isinstance(result, BaseException):
                raise result
        if problems:
            raise BusError("all" if len(self._buses) > 1 else self._buses[0].name, problems)

    def _tell_warnings(self) -> None:
        for bus in self._buses:
            for text in bus.warnings:
                self._events.emit("bus.warning", f"bus {bus.name}: {text}", level="warning", bus=bus.name)

    async def _fresh_reading(self) -> None:
        """Wait until every joint was read after this moment."""
        since = time.monotonic_ns()
        deadline = time.monotonic() + _FRESH_TIMEOUT_S
        while (self._state.stamp_ns < since).any():
            if time.monotonic() > deadline:
                late = [j.name for j, s in zip(self._joints, self._state.stamp_ns, strict=True) if s < since]
                raise TimeoutError(f"no reading from {', '.join(late)} within {_FRESH_TIMEOUT_S:g} s of enabling")
            await asyncio.sleep(0.001)


def _flat(checks: Mapping[str, Sequence[str]]) -> list[str]:
    return [reason for reasons in checks.values() for reason in reasons]
