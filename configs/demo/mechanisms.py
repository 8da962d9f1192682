"""The two ways in which reflexd runs a policy, in simulated time: latency hidden, and inline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.demo.expert import HORIZON, JOINTS, OBSERVATION, RATE, Array
from configs.demo.rollout import CONFIG, Mechanism, Policy, Seen, observation
from drivers.sensors.datagram import DatagramSensor
from drivers.state import JointState
from runtime.config.config import Config
from runtime.config.load import load
from runtime.control.seams.seam import Seam
from runtime.control.seams.strategy import Name, strategy
from runtime.events import Events
from runtime.policy.chunk import Chunk
from runtime.policy.commands import Commands
from runtime.policy.latency import Latency
from runtime.policy.planner import Planner
from runtime.policy.scheduler import Scheduler
from runtime.policy.source import Observe, Source
from runtime.policy.tasks import Task
from runtime.policy.terms import ActionMap, ObservationBuilder
from runtime.policy.worker.wire import Can

Delay = Callable[[], int]
"""How long the next inference takes, from observation to chunk, ns."""
ACTION_NS = round(1e9 / RATE)


@dataclass(frozen=True)
class Timing:
    """How the policy is run."""

    latency: float = 0.2
    """From observation to chunk, s."""
    execute: int = 12
    """Actions between two inference starts."""
    inline: bool = False
    """The robot holds its goal during the inference, then executes the chunk from its first action."""

    def mechanism(self, policy: Policy, disturb: np.random.Generator | None = None) -> Mechanism:
        """What runs it so. `disturb`: now and then the policy is silent for up to a second."""

        def delay() -> int:
            away = disturb.uniform(0.2, 1.2) if disturb is not None and disturb.random() < 0.01 else 0.0
            return round(1e9 * (self.latency + away))

        return (Inline if self.inline else Hidden)(policy, delay, self.execute)


def between(chunk: Array, since_ns: int) -> Array:
    """The goal at a time after action 0, on straight lines between actions; the last action lasts."""
    at = min(since_ns / ACTION_NS, HORIZON - 1.0)
    low = min(int(at), HORIZON - 2)
    return np.asarray(chunk[low] + (at - low) * (chunk[low + 1] - chunk[low]))


class Inline:
    """Think, and hold meanwhile; then execute some actions from the first one on."""

    def __init__(self, policy: Policy, delay: Delay, execute: int) -> None:
        self.seams: list[float] = []
        self.disagreements: list[float] = []
        self._policy, self._delay = policy, delay
        self._span_ns = execute * ACTION_NS
        self._chunk: Array | None = None
        self._t0_ns = 0
        self._coming: Array | None = None
        self._there_ns = 0

    def tick(self, now_ns: int, seen: Seen, command: Array, goal: Array) -> bool:
        if self._coming is None and (self._chunk is None or now_ns >= self._t0_ns + self._span_ns):
            self._coming = self._policy(observation(seen, self.last_action(now_ns)))
            self._there_ns = now_ns + self._delay()
        if self._coming is not None:
            if now_ns < self._there_ns:
                return False
            if self._chunk is not None:
                self.seams.append(leap(self._coming[0], command))
            self._chunk, self._t0_ns, self._coming = self._coming, now_ns, None
        assert self._chunk is not None
        goal[:] = between(self._chunk, now_ns - self._t0_ns)
        return True

    def last_action(self, now_ns: int) -> Array:
        if self._chunk is None:
            return np.zeros(7)
        return np.asarray(self._chunk[min(max(now_ns - self._t0_ns, 0) // ACTION_NS, HORIZON - 1)])


def leap(new: Array, old: Array) -> float:
    """Step from one goal to another, rad: the joint that steps furthest."""
    return float(np.abs(new - old).max())


class Thinking:
    """The policy as the runtime knows it; its answer is there when its time has come."""

    def __init__(self, policy: Policy, delay: Delay) -> None:
        """A policy with a method `continue_plan` is able to continue a plan, as a backend is."""
        self.ready, self.busy, self.away = True, False, False
        self.observation = np.zeros(OBSERVATION, np.float32)
        self.plan = np.zeros((HORIZON, 7), np.float32)
        self.can = Can.CONTINUE if hasattr(policy, "continue_plan") else Can(0)
        self.failures: Counter[Any] = Counter()
        self.latency, self.inference = Latency(), Latency()
        self.restarts = 0
        self._policy: Any = policy
        self._delay = delay
        self._coming = Chunk(0, self.plan.astype(np.float64), 0, 0)
        self._there_ns = 0

    async def start(self) -> None:
        """It is ready from the beginning."""

    async def close(self) -> None:
        """There is nothing to give back."""

    def set_task(self, prompt: str) -> None:
        """It has only one."""

    def request(self, t0_ns: int, known: int = 0, delay: int = 0) -> bool:
        self.busy = True
        if known:
            actions = self._policy.continue_plan(self.observation.copy(), self.plan[:known].copy(), delay)
        else:
            actions = self._policy(self.observation.astype(np.float64))
        self._coming = Chunk(t0_ns, np.asarray(actions, np.float64), self._delay(), self._coming.sequence + 1)
        return True

    def asked(self, now_ns: int) -> None:
        """The time at which it was asked."""
        self._there_ns = now_ns + self._coming.latency_ns

    def answer(self, now_ns: int) -> Chunk | None:
        """The chunk that has arrived by now, once."""
        if not self.busy or now_ns < self._there_ns:
            return None
        self.busy = False
        self.latency.add(self._coming.latency_ns)
        return self._coming


class Hidden:
    """The runtime's own planner, scheduler, timeline and seams, on simulated time."""

    def __init__(
        self,
        policy: Policy,
        delay: Delay,
        execute: int,
        seam: Name = "blend",
        observe: Observe = "now",
        config: Config | None = None,
    ) -> None:
        """`config`: what the policy's numbers mean; left out: what `demo.toml` says."""
        config = config or load(CONFIG)
        assert config.policy is not None
        self.seams: list[float] = []
        self.disagreements: list[float] = []
        self._now_ns = 0
        self._state = JointState(len(JOINTS))
        self._state.measured[:] = 0.0
        (tracker,) = config.sensors
        self._tracker = DatagramSensor(tracker.options)
        self._actions = ActionMap(config.policy.action, JOINTS, config.policy.between)
        self._thinking = Thinking(policy, delay)
        source = Source(
            "policy",
            self._thinking,
            ObservationBuilder(config.policy.observation, JOINTS, [self._tracker], (), self._actions.size),
            self._actions,
            [(self._tracker, 1.0)],
            Scheduler(HORIZON, execute, ACTION_NS),
            strategy(seam, config.policy.seam_time, config.policy.seam_decay),
            Events(),
            observe=observe,
        )
        if source.problem:
            raise ValueError(source.problem)
        self._planner = Planner(source, Commands({}), Events(), self._laid, clock=lambda: self._now_ns)
        self._started = False

    def tick(self, now_ns: int, seen: Seen, command: Array, goal: Array) -> bool:
        planner, self._now_ns = self._planner, now_ns
        if not self._started:
            planner.start(command, now_ns)
            self._started = True
        self._state.position[:], self._state.velocity[:] = seen.position, seen.velocity
        self._tracker.values[:], self._tracker.stamp_ns = seen.tracker, now_ns
        self._receive()
        if planner.due(now_ns):
            planner.ask(now_ns, self._state)
            self._thinking.asked(now_ns)
            self._receive()
        return planner.sample(now_ns, goal)

    def last_action(self, now_ns: int) -> Array:
        track = self._planner.timeline.at(now_ns)
        return np.zeros(7) if track is None else self._actions.raw(track.goals[track.row(now_ns)])

    def _receive(self) -> None:
        if (chunk := self._thinking.answer(self._now_ns)) is not None:
            self._planner.lay(chunk)

    def _laid(self, chunk: Chunk, now_ns: int, seam: Seam, task: Task) -> None:
        if self._planner.chunks > 1:
            self.seams.append(seam.after_rad)
            self.disagreements.append(seam.before_rad)
