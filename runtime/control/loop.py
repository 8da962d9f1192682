"""The control loop: one tick is read, plan, limit, write, beat. Nothing in it waits or raises."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.bus import Bus
from drivers.joint import Joint
from drivers.sensor import Sensor
from drivers.state import Floats, JointState
from runtime.control.histogram import Histogram
from runtime.control.modes import Mode, ModeMachine
from runtime.control.track import Track
from runtime.degraded.degraded import Degraded, Failure
from runtime.degraded.health import Health
from runtime.events import Events
from runtime.policy.planner import Planner
from runtime.recording.episodes import Episodes
from runtime.recording.ring import TraceRing
from safety.action import Action
from safety.beat import Heartbeat, LoopState
from safety.envelope import Envelope
from safety.gate import Gate
from safety.order import Orders

REST = 1e-3
"""A commanded speed below this (rad/s) on every joint is standing still."""
ARRIVED = 0.01
"""So close to its goal (rad) a joint has arrived."""

# Joined once: flags are slow to join.
_MOVING = int(LoopState.ENERGISED)
_HOLDING = int(LoopState.ENERGISED | LoopState.HOLDING)
_FAULTY = int(LoopState.ENERGISED | LoopState.FAULT)

_AFTER_STOP = {
    (Action.HOLD, False): Mode.HOLD,
    (Action.HOLD, True): Mode.HELD,
    (Action.CONTROLLED_STOP, False): Mode.STANDBY,
    (Action.CONTROLLED_STOP, True): Mode.FAULT,
}
"""How a stop ends that the safety task has ordered; whether it is latched."""


@dataclass(frozen=True, slots=True)
class _Stop:
    """Where a stop began."""

    began_ns: int
    position: Floats
    """Measured, rad, shape (joints,)."""
    seen_ns: int | None
    """When the safety task saw what it is for; None for a stop that it has not ordered."""


class ControlLoop:
    """The robot's joints under one clock. `tick` is the hot path; the other methods change what it does."""

    def __init__(
        self,
        joints: Sequence[Joint],
        buses: Sequence[Bus],
        sensors: Sequence[Sensor],
        state: JointState,
        envelope: Envelope,
        gate: Gate,
        heartbeat: Heartbeat,
        orders: Orders,
        planner: Planner | None,
        degraded: Degraded,
        health: Health,
        trace: TraceRing,
        episodes: Episodes,
        events: Events,
        period_ns: int,
        missed_limit: int,
        on_power_off: Callable[[Mode], None],
        cut_mode: Callable[[], Mode],
        set_alarm: Callable[[int], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.modes = ModeMachine()
        self.cost = Histogram()
        """Time from the start of a tick to its end."""
        self.goal: Floats = np.zeros(len(joints))
        """What is wanted now, rad, before the envelope."""
        self.command: Floats = np.zeros(len(joints))
        """What was sent last, rad."""
        self._joints = joints
        self._buses = buses
        self._sensors = sensors
        self._state = state
        self._envelope = envelope
        self._gate = gate
        self._heartbeat = heartbeat
        self._orders = orders
        self._order = orders.last
        self._allowed_speed = 1.0
        self._planner = planner
        self._degraded = degraded
        self._health = health
        self._failure: Failure | None = None
        """Why the robot leaves its run by itself, from then until it stands."""
        self._way: Track | None = None
        """Where it goes meanwhile."""
        self._trace = trace
        self._episodes = episodes
        self._extra = [sensor.values for sensor in sensors]
        if planner is not None:
            self._extra.append(planner.commands.values)
        self._troubles = state.counted[1:]  # requests missed and faults
        self._no_trouble = bytes(self._troubles.nbytes)
        self._events = events
        self._missed_limit = missed_limit
        self._keeps_torque = {index for index, joint in enumerate(joints) if joint.after_stop == "hold"}
        self._faulty: set[int] = set()
        """Joints whose fault has stopped the robot since it was armed or reset."""
        self._on_power_off = on_power_off
        """Called when the motors must be off from now on: a ramp has ended in this mode, or power was cut."""
        self._cut_mode = cut_mode
        """Tells what to call a stop that the safety task made: ESTOP or FAULT."""
        self._set_alarm = set_alarm
        """Has `observe` called at a time (CLOCK_MONOTONIC, ns)."""
        self._half_period_ns = period_ns // 2
        self._clock = clock
        self._cost_ns = 0
        self._number = 0
        self._stop = _Stop(0, state.position, None)
        """The last one."""

    # -- what the operator and the safety task ask for, between ticks

    def hold_here(self) -> None:
        """Take the measured position as goal and command: the start of every motion."""
        self._faulty.clear()
        self._envelope.reset(self._state.position)
        self.goal[:] = self._state.position
        self.command[:] = self._state.position

    def limit(self, part: float) -> None:
        """Let joints use this part (above 0, at most 1) of their top speed and torque, whatever else is in force.

        Not while motors are energised: they learn of it when they are.
        """
        self._allowed_speed = part
        self._envelope.set_speed(min(part, self._order.speed))
        self._envelope.set_torque(part)
        for bus in self._buses:
            bus.torque_part = part

    def start_auto(self) -> None:
        """Let the policy move the robot, from where it is commanded now. Raises ModeError."""
        assert self._planner is not None
        self.modes.request("start")
        self.goal[:] = self.command
        self._planner.start(self.command, self._clock())
        self._degraded.start()

    def move(self, targets: dict[int, float]) -> None:
        """Move joints (by index) to angles (rad) along the envelope; the others stay. Raises ModeError."""
        self.modes.request("move")
        for index, angle in targets.items():
            self.goal[index] = angle

    def stop(self, then: Mode, failed: str = "", seen_ns: int | None = None) -> None:
        """Ramp to a stop along the joints' limits, then go to HOLD, HELD, STANDBY or FAULT.

        `failed`: why a run of the policy that ends by it has failed; empty: it has not. `seen_ns`: when the safety
        task saw what the stop is for (CLOCK_MONOTONIC); None when it ordered none.
        """
        was = self.modes.mode
        if self.modes.stop(then) and was != Mode.STOPPING:
            self._ramp_down(seen_ns)
        if was == Mode.AUTO:
            self._health.run_ended(failed)

    def release(self) -> None:
        """From HELD to HOLD: what was latched is reset. Raises ModeError."""
        self.modes.request("release")
        self._faulty.clear()

    # -- the hot path

    def tick(self, number: int, deadline_ns: int, now_ns: int) -> None:
        """Run one tick. `deadline_ns` is when it was due, `now_ns` when it began (CLOCK_MONOTONIC)."""
        modes, buses = self.modes, self._buses
        self._number = number
        self._read(now_ns)
        if modes.energised:
            self._check()
        self._obey()
        if modes.energised:
            self._plan(deadline_ns)
            self._envelope.apply(self.goal, self.command)

        commanded = self._gate.is_open and modes.energised
        for bus in buses:
            if bus.busy:
                continue
            if commanded:
                bus.command(now_ns, self.command)
            else:
                bus.poll(now_ns)

        self._heartbeat.beat(number, now_ns, self._loop_state())
        if modes.mode == Mode.AUTO and self._planner is not None and self._planner.due(deadline_ns):
            self._set_alarm(deadline_ns + self._half_period_ns)
        self._record(number, deadline_ns, now_ns, commanded)
        self._cost_ns = self._clock() - now_ns
        self.cost.add(self._cost_ns)

    def observe(self, now_ns: int) -> None:
        """Ask the policy, half a period after a tick: the answers to that tick's commands have arrived by then,
        and the chunk can be there for the next one. This spares a period between measurement and motion."""
        if self.modes.mode == Mode.AUTO and self._planner is not None:
            self._read(now_ns)
            self._planner.ask(now_ns, self._state)

    def _read(self, now_ns: int) -> None:
        for bus in self._buses:
            if not bus.busy:
                bus.read(now_ns)
        for sensor in self._sensors:
            sensor.read(now_ns)

    def _loop_state(self) -> int:
        if not self.modes.energised:
            return 0
        mode = self.modes.mode
        if mode == Mode.STOPPING and self._faulty:
            return _FAULTY
        return _HOLDING if mode == Mode.HOLD or mode == Mode.HELD else _MOVING

    def _obey(self) -> None:
        """Do what the safety task asks for, in every tick: nothing that was begun between two of them lasts."""
        order = self._orders.last
        if order is not self._order:
            self._order = order
            self._envelope.set_speed(min(order.speed, self._allowed_speed))
        if order.action < Action.HOLD:
            return
        if not self.modes.energised:
            if order.latched:
                self.modes.cut(self._cut_mode())
        elif order.action < Action.TORQUE_OFF:  # otherwise the gate is closed, or will be in a moment
            self.stop(_AFTER_STOP[order.action, order.latched], "the safety task has stopped it", order.seen_ns)

    def _check(self) -> None:
        if not self._gate.is_open:
            if self.modes.mode == Mode.AUTO:
                self._health.run_ended("the power was cut")
            self.modes.cut(self._cut_mode())
            if self._planner is not None:
                self._planner.stop()
            self._on_power_off(self.modes.mode)
            return
        # Without array arithmetic, which costs ten times as much when the caches are cold.
        if self._troubles.tobytes() == self._no_trouble:
            return
        if self._state.fault.any() or self._state.missed.max() >= self._missed_limit:
            self._joint_fault()

    def _joint_fault(self) -> None:
        """Stop because of joints that were well until now; each is told once."""
        now_ns = self._clock()
        known = len(self._faulty)
        for bus in self._buses:
            for joint, index in zip(bus.joints, bus.index.tolist(), strict=True):
                fault = int(self._state.fault[index])
                missed = int(self._state.missed[index])
                if index in self._faulty or not (fault or missed >= self._missed_limit):
                    continue
                self._faulty.add(index)
                where = {"joint": joint.name, "bus": bus.name, "id": joint.id, "tick": self._number}
                last_good_s = (now_ns - int(self._state.stamp_ns[index])) / 1e9
                if fault:
                    text = f"joint {joint.name} (bus {bus.name}, id {joint.id}): {bus.explain(fault)}: stopping"
                    self._events.emit("joint.fault", text, level="error", **where, code=fault)
                else:
                    text = (
                        f"joint {joint.name} (bus {bus.name}, id {joint.id}) has not answered {missed} times in a "
                        f"row, last good reading {last_good_s:.3f} s ago: stopping"
                    )
                    self._events.emit(
                        "joint.lost", text, level="error", **where, missed=missed, last_good_s=last_good_s
                    )
        if len(self._faulty) > known:
            if not known:
                self._health.joint_fault()
            # A joint that has failed cannot be relied on to hold itself.
            holds = self._keeps_torque and not self._keeps_torque & self._faulty
            self.stop(Mode.HELD if holds else Mode.FAULT, "a joint has failed")

    def _plan(self, now_ns: int) -> None:
        mode = self.modes.mode
        if mode == Mode.AUTO:
            assert self._planner is not None
            was_starved = self._planner.starved
            if not self._planner.sample(now_ns, self.goal) and self._planner.starved and not was_starved:
                self._envelope.stopping_point(self.goal)
            self._degraded.note(self.command)
            if failure := self._degraded.look(now_ns, self._planner.starved):
                self._give_up(failure)
        elif mode == Mode.STOPPING:
            self._degraded.note(self.command)
            if self._envelope.at_rest(REST):
                self._stopped(now_ns)
        elif mode == Mode.RETURNING:
            assert self._way is not None
            if not self._way.sample(now_ns, self.goal) and self._envelope.at_rest(REST):
                self._returned()

    def _ramp_down(self, seen_ns: int | None = None) -> None:
        self._stop = _Stop(self._clock(), self._state.position.copy(), seen_ns)
        self._envelope.stopping_point(self.goal)
        if self._planner is not None:
            self._planner.stop()

    def _give_up(self, failure: Failure) -> None:
        """The policy cannot go on: end its run as the config says."""
        self._failure = failure
        text = f"{failure.text}: {failure.reaction}"
        facts = {"condition": failure.condition, "reaction": failure.reaction, "tick": self._number}
        self._events.emit("degraded.reaction", text, level="warning", **facts)
        if failure.reaction == "stop":
            self.stop(Mode.HOLD if self._keeps_torque else Mode.STANDBY, failure.text)
            return
        self.modes.go_back()
        self._ramp_down()
        self._health.run_ended(failure.text)

    def _stopped(self, now_ns: int) -> None:
        self.goal[:] = self.command
        self.modes.at_rest()
        self._tell_stopped()
        if not self.modes.energised:
            self._on_power_off(self.modes.mode)
        elif self.modes.mode == Mode.RETURNING:
            assert self._failure is not None
            self._way = self._degraded.way(self._failure.reaction, self.command, now_ns)

    def _returned(self) -> None:
        """The way has ended, or the envelope lets the robot go no further."""
        assert self._failure is not None
        left = float(np.abs(self.goal - self.command).max())
        self.goal[:] = self.command
        self.modes.at_rest()
        arrived = left < ARRIVED
        self._events.emit(
            "degraded.returned",
            f"{self._failure.reaction}: {'done' if arrived else f'{left:.3f} rad are left'}; holding",
            level="info" if arrived else "warning",
            reaction=self._failure.reaction,
            left_rad=left,
            tick=self._number,
        )

    def _tell_stopped(self) -> None:
        """The ramp has ended: how soon it began after its cause was seen, how long it took, and how far."""
        stop, mode = self._stop, self.modes.mode
        duration_s = (self._clock() - stop.began_ns) / 1e9
        way = np.abs(self._state.position - stop.position)
        furthest = int(way.argmax())
        name, distance = self._joints[furthest].name, float(way[furthest])
        fields: dict[str, Any] = {}
        if stop.seen_ns is not None:
            fields["reaction_ms"] = (stop.began_ns - stop.seen_ns) / 1e6
        self._events.emit(
            "robot.stopped",
            f"stopped within {duration_s:.3f} s, mode {mode.name}; {name} went furthest, {distance:.3f} rad",
            **fields,
            category=2 if self.modes.energised else 1,
            duration_s=duration_s,
            joint=name,
            distance_rad=distance,
            tick=self._number,
        )

    def _record(self, number: int, deadline_ns: int, now_ns: int, commanded: bool) -> None:
        planner = self._planner
        starved, ahead_s = (
            (planner.starved, planner.timeline.ahead_s(deadline_ns)) if planner is not None else (False, 0.0)
        )
        mode = self.modes.mode
        episode, intervention = self._episodes.flags(mode, now_ns)
        head = (number, now_ns, now_ns - deadline_ns, self._cost_ns, mode, commanded, starved, ahead_s)
        self._trace.append(
            (*head, episode, intervention, *[sensor.stamp_ns for sensor in self._sensors]),
            self._state,
            self.goal,
            self.command,
            self._envelope.limits,
            self._extra,
        )
