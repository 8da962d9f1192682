from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.bus import BusCounters
from drivers.joint import Joint
from drivers.state import JointState
from runtime.config.degraded import Degraded as DegradedOptions
from runtime.control.loop import ControlLoop
from runtime.control.modes import Mode
from runtime.control.seams.strategy import Name, strategy
from runtime.degraded.degraded import Degraded
from runtime.degraded.health import Health
from runtime.events import Events
from runtime.policy.chunk import Chunk
from runtime.policy.commands import CommandRange, Commands
from runtime.policy.handover import Handover
from runtime.policy.planner import Planner
from runtime.policy.scheduler import Scheduler
from runtime.policy.source import Observe, Source
from runtime.policy.tasks import Tasks
from runtime.policy.terms import ActionMap, ActionTerm, ObservationBuilder, ObservationTerm
from runtime.policy.worker.wire import Can
from runtime.recording.episodes import Episodes
from runtime.recording.ring import TraceReader, TraceRing
from runtime.recording.trace import TraceLayout
from safety.action import Action
from safety.beat import Heartbeat
from safety.envelope import Envelope
from safety.gate import Gate
from safety.order import Order, Orders
from safety.watch import Flag

PERIOD_NS = 10_000_000
ACTION_NS = 20_000_000


class FakeBus:
    """Answers every request with the last command, one tick later; `silent` joints do not answer."""

    def __init__(self, joints: list[Joint], state: JointState) -> None:
        self.name = "arm"
        self.joints = joints
        self.index = np.arange(len(joints))
        self.counters = BusCounters()
        self.busy = False
        self.silent: set[int] = set()
        self.commands: list[np.ndarray[Any, Any] | None] = []
        self._state = state
        self._asked_ns = 0
        self._angles = np.zeros(len(joints))

    def read(self, now_ns: int) -> None:
        if not self._asked_ns:
            return
        for i in range(len(self.joints)):
            if i in self.silent:
                self._state.missed[i] += 1
                continue
            self._state.missed[i] = 0
            self._state.position[i] = self._angles[i]
            self._state.velocity[i] = 0.0
            self._state.stamp_ns[i] = self._asked_ns

    def poll(self, now_ns: int) -> None:
        self._asked_ns = now_ns
        self.commands.append(None)

    def command(self, now_ns: int, position: Any) -> None:
        self._asked_ns = now_ns
        self._angles = position.copy()
        self.commands.append(position.copy())

    def explain(self, fault: int) -> str:
        return f"code {fault}"


class FakePolicy:
    """Remembers what it was asked; the test answers with `World.answer`."""

    def __init__(self, size: int, actions: int) -> None:
        self.ready, self.busy = True, False
        self.observation = np.zeros(size, np.float32)
        self.plan = np.zeros((50, actions), np.float32)
        self.can = Can(0)
        self.failures: Counter[str] = Counter()
        self.restarts = 0
        self.asked: list[int] = []
        self.handed: list[tuple[int, int]] = []

    def request(self, t0_ns: int, known: int = 0, delay: int = 0) -> bool:
        self.busy = True
        self.asked.append(t0_ns)
        self.handed.append((known, delay))
        return True


@dataclass
class World:
    """A control loop with everything around it faked, driven tick by tick."""

    loop: ControlLoop
    bus: FakeBus
    policy: FakePolicy
    planner: Planner
    gate: Gate
    heartbeat: Heartbeat
    orders: Orders
    state: JointState
    events: Events
    health: Health
    flags: list[Flag]
    commands: Commands
    trace: TraceRing
    powered_off: list[Mode]
    clock: list[int]
    alarms: list[int]
    cut_mode: list[Mode] = field(default_factory=lambda: [Mode.ESTOP])
    number: int = 0

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            self.number += 1
            self.clock[0] = self.number * PERIOD_NS
            self.loop.tick(self.number, self.clock[0], self.clock[0])
            while self.alarms:
                self.clock[0] = self.alarms.pop()
                self.loop.observe(self.clock[0])

    def order(self, action: Action, latched: bool = False, speed: float = 1.0) -> None:
        self.orders.last = Order(action, latched, speed)

    def recorded(self) -> NDArray[np.void]:
        """Everything that the ticks have left for the recorder."""
        reader = TraceReader(self.trace.layout, self.trace.capacity, self.trace.descriptor)
        reader.look()
        reader.look()
        return reader.take(self.trace.capacity)

    def arm(self) -> None:
        self.loop.modes.mode = Mode.STANDBY
        self.tick(3)
        self.loop.hold_here()
        self.gate.permit()
        assert self.gate.open()
        self.loop.modes.request("arm")

    def answer(self, actions: Any, t0_ns: int | None = None) -> None:
        self.policy.busy = False
        t0 = self.policy.asked[-1] if t0_ns is None else t0_ns
        self.planner.lay(Chunk(t0, np.asarray(actions, float), self.clock[0] - t0, len(self.policy.asked)))

    def sent(self) -> Any:
        command = self.bus.commands[-1]
        assert command is not None
        return command


def second(commands: Commands, events: Events) -> Source:
    actions = ActionMap([ActionTerm(target="joint.position", joints=["a"])], ["a", "b"])
    terms = [ObservationTerm(source="joint.position", joints=["a"])]
    builder = ObservationBuilder(terms, ["a", "b"], [], ["vx"], actions.size)
    policy: Any = FakePolicy(builder.size, actions.size)
    scheduler = Scheduler(50, 5, ACTION_NS)
    return Source("fallback policy", policy, builder, actions, [], scheduler, strategy("blend"), events)


def build(
    degraded: DegradedOptions | None = None,
    sensors: Sequence[tuple[Any, float]] = (),
    tasks: Tasks | None = None,
    seam: Name = "blend",
    observe: Observe = "now",
    handover: Handover | None = None,
    **after_stop: str,
) -> World:
    """A robot of the joints a and b. `sensors`: each with its max_age, s; `tasks`: of a policy that sees their ids
    last; `after_stop`: where it is not limp.

    `handover`: when a fallback that sees and moves joint a alone takes over and gives back.
    """
    options = degraded or DegradedOptions()
    joints = [
        Joint(
            name=name,
            bus="arm",
            id=i + 1,
            model="M",
            position_min=-2,
            position_max=2,
            velocity_max=2,
            acceleration_max=20,
            after_stop=after_stop.get(name, "limp"),  # type: ignore[arg-type]
        )
        for i, name in enumerate("ab")
    ]
    clock, alarms = [0], list[int]()
    state, events, gate = JointState(2), Events(), Gate(lambda: clock[0])
    heartbeat, orders = Heartbeat(), Orders()
    commands = Commands({"vx": CommandRange(0.0, -1.0, 1.0)}, [(0.5, {"vx": 0.7})])
    actions = ActionMap([ActionTerm(target="joint.position")], ["a", "b"])
    terms = [ObservationTerm(source="joint.position"), ObservationTerm(source="last_action")]
    terms.append(ObservationTerm(source="command"))
    terms += [ObservationTerm(source="task")] if tasks is not None else []
    builder = ObservationBuilder(terms, ["a", "b"], [], ["vx"], actions.size, tasks)
    policy = FakePolicy(builder.size, actions.size)
    source = Source(
        "policy",
        policy,  # type: ignore[arg-type]
        builder,
        actions,
        [(sensor, max_age + options.lost(sensor.name).grace) for sensor, max_age in sensors],
        Scheduler(50, 5, ACTION_NS),
        strategy(seam),
        events,
        observe=observe,
    )
    fallback = (second(commands, events), handover, strategy("blend")) if handover is not None else None
    planner = Planner(source, commands, events, clock=lambda: clock[0], fallback=fallback)
    bus = FakeBus(joints, state)
    trace = TraceRing(TraceLayout(["a", "b"], {}, ["vx"]), 64)
    powered_off: list[Mode] = []
    cut_mode = [Mode.ESTOP]
    flags: list[Flag] = []
    health = Health(options, Path("/nowhere"), events)
    loop = ControlLoop(
        joints,
        [bus],  # type: ignore[list-item]
        [],
        state,
        Envelope(joints, PERIOD_NS / 1e9),
        gate,
        heartbeat,
        orders,
        planner,
        Degraded(options, joints, sensors, lambda: flags, events, PERIOD_NS / 1e9),
        health,
        trace,
        Episodes("r", None, events, 60.0, marks_alone=True, clock=lambda: clock[0]),
        events,
        period_ns=PERIOD_NS,
        missed_limit=3,
        on_power_off=powered_off.append,
        cut_mode=lambda: cut_mode[0],
        set_alarm=alarms.append,
        clock=lambda: clock[0],
    )
    return World(
        loop,
        bus,
        policy,
        planner,
        gate,
        heartbeat,
        orders,
        state,
        events,
        health,
        flags,
        commands,
        trace,
        powered_off,
        clock,
        alarms,
        cut_mode,
    )


@pytest.fixture
def world() -> World:
    return build()


@pytest.fixture
def world_that_holds() -> World:
    """Joint b would fall without torque."""
    return build(b="hold")
