"""Where chunks come from: one policy, when it is asked, what it sees, and what its numbers mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np

from drivers.sensor import Sensor
from drivers.state import Floats, JointState
from runtime.control.seams.seam import Strategy
from runtime.control.timeline import Timeline
from runtime.control.track import Track, duration_ns
from runtime.events import Events
from runtime.policy.chunk import Chunk
from runtime.policy.policy import Policy
from runtime.policy.scheduler import Scheduler
from runtime.policy.terms import ActionMap, ObservationBuilder
from runtime.policy.worker.wire import Can

Observe = Literal["now", "arrival"]


class Dated(Protocol):
    """Something with a name that was measured at some time."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def stamp_ns(self) -> int:
        """CLOCK_MONOTONIC time of the newest measurement, ns; 0 before the first."""


class Source:
    """Asks one policy, and makes tracks of its chunks."""

    def __init__(
        self,
        name: str,
        policy: Policy,
        observation: ObservationBuilder,
        actions: ActionMap,
        sensors: Sequence[tuple[Sensor, float]],
        scheduler: Scheduler,
        strategy: Strategy,
        events: Events,
        *,
        observe: Observe = "now",
        cameras: Sequence[tuple[Dated, float]] = (),
    ) -> None:
        """`sensors`: each with the age (s) up to which its reading will do; `cameras`: likewise, those that
        it sees."""
        self.name = name
        self.policy = policy
        self.scheduler = scheduler
        self.strategy = strategy
        self.tasks = observation.tasks
        self.task = self.tasks.now
        """What the last request was for, and so the chunk that answers it."""
        self.hold: Floats = np.zeros(actions.joints)
        """Goals of the joints that it does not move, rad, shape (joints,)."""
        self.running = False
        self._observation = observation
        self._actions = actions
        aged: list[tuple[str, Dated, float]] = [
            (f"sensor {each.name}", each, limit_s) for each, limit_s in sensors
        ]
        aged += [(f"camera {each.name}", each, limit_s) for each, limit_s in cameras]
        self._aged = [(name, each, round(limit_s * 1e9)) for name, each, limit_s in aged]
        self._events = events
        self._rolls = observe == "arrival"
        self._seen = JointState(actions.joints)
        self._restarts = policy.restarts
        self._blind = False
        self._began_ns = self._asked_ns = self._t0_ns = 0

    @property
    def has_tasks(self) -> bool:
        """The policy learns of the task: its observation shows it, or its backend is told."""
        return self._observation.shows_task or Can.TASK in self.policy.can

    @property
    def problem(self) -> str:
        """Why its chunks cannot be joined as the config wants it; empty: they can, or nobody knows yet."""
        if not self.strategy.continues or not self.policy.ready or self.policy.can & Can.CONTINUE:
            return ""
        return (
            f'the seam of the {self.name} is "{self.strategy.name}", and its backend cannot continue a plan '
            "(it has no `continue_plan`); choose another seam, or a backend and a model that can"
        )

    def begin(self, now_ns: int) -> None:
        """Ask from now on; answers to what was asked before are not awaited any more."""
        self.running = True
        self._blind = False
        self._began_ns = self._t0_ns = now_ns
        self.scheduler.begin(now_ns)

    def stop(self) -> None:
        """Ask no more."""
        self.running = False

    def due(self, now_ns: int) -> bool:
        """Whether it is time to ask, and the policy is free."""
        return self.running and now_ns >= self.scheduler.due_ns and self.policy.ready and not self.policy.busy

    def ask(self, now_ns: int, state: JointState, commands: Floats, timeline: Timeline) -> None:
        """Ask for the chunk that begins now, or at the moment of the answer. It costs microseconds."""
        t0_ns = self._first_moment(now_ns, timeline)
        seen = state if t0_ns == now_ns else self._rolled(state, timeline, now_ns, t0_ns)
        track = timeline.at(t0_ns)
        last = self._last_action(track, t0_ns)
        complete = self._observation.build(self.policy.observation, seen, commands, last)
        old = [name for name, each, limit_ns in self._aged if now_ns - each.stamp_ns > limit_ns]
        if old or not complete:
            self._look_away(old)
            return
        self._blind = False
        known = self._hand_over(timeline, t0_ns) if self.strategy.continues else 0
        late_ns = now_ns + (self.scheduler.delay_ns or 0) - t0_ns
        delay = min(max(-(-late_ns // self.scheduler.period_ns), 0), known)
        if self.tasks.now is not self.task:
            known = delay  # what runs anyway; the rest of the plan is for another task
        self._asked_ns, self._t0_ns = now_ns, t0_ns
        self.task = self.tasks.now
        if self.policy.request(t0_ns, known, delay):
            self.scheduler.asked(now_ns)

    def answered(self, chunk: Chunk) -> bool:
        """Take note of an answer. False: nobody waits for it any more."""
        if self.policy.restarts != self._restarts:
            self._restarts = self.policy.restarts
            self.scheduler.restarted()
        self.scheduler.answered(chunk.latency_ns)
        return self.running and self._asked_ns >= self._began_ns

    def track(self, chunk: Chunk, t0_ns: int) -> Track:
        """The chunk as goals from `t0_ns` on."""
        curve = chunk.curve if chunk.curve is not None else self._actions.curve.through(chunk.actions)
        self._actions.fill(curve, self.hold)
        held = self._actions.held
        track = Track(t0_ns, self.scheduler.period_ns, curve[:, 0], held, self.name, curve=curve)
        track.actions = chunk.actions
        return track

    def _last_action(self, track: Track | None, t0_ns: int) -> Floats:
        """The raw action that is executed at `t0_ns`, shape (A,); zeros when there is no plan."""
        if track is None:
            return np.zeros(self._actions.size)
        row = track.row(t0_ns)
        if track.actions is not None and track.by == self.name:
            action: Floats = track.actions[row]
            return action
        return self._actions.raw(track.goals[row])

    def _first_moment(self, now_ns: int, timeline: Timeline) -> int:
        """The moment that the chunk's first action is meant for."""
        delay_ns = self.scheduler.delay_ns or 0
        # What takes longer than its horizon would be past when it comes: it is only of use for that moment.
        rolls = self._rolls or delay_ns >= duration_ns(self.scheduler.horizon, self.scheduler.period_ns)
        if not rolls or timeline.end_ns <= now_ns:
            return now_ns
        return max(now_ns + delay_ns, self._t0_ns)

    def _rolled(self, state: JointState, timeline: Timeline, now_ns: int, t0_ns: int) -> JointState:
        """The state as it will be at `t0_ns`: each joint goes as far as its goal does (VLASH, arXiv 2512.01031).

        What the joint lags behind its goal, and sags, is kept.
        """
        seen = self._seen
        seen.measured[:] = state.measured
        now, then = timeline.at(now_ns), timeline.at(t0_ns)
        if now is not None and then is not None:
            seen.measured[:2] += then.motion(t0_ns) - now.motion(now_ns)
        return seen

    def _hand_over(self, timeline: Timeline, t0_ns: int) -> int:
        """Write the plan that runs from `t0_ns` on where the policy finds it. Returns its rows."""
        plan = self.policy.plan
        committed = timeline.committed(t0_ns, self.scheduler.period_ns, len(plan))
        if len(committed):
            plan[: len(committed)] = self._actions.raw(committed)
        return len(committed)

    def _look_away(self, old: list[str]) -> None:
        if self._blind:
            return
        self._blind = True
        lacking = [f"{name} is too old" for name in old] or self._observation.missing()
        self._events.emit(
            "policy.blind",
            f"the {self.name} is not asked, its observation is not complete: {', '.join(lacking)}",
            level="warning",
        )
