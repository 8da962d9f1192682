"""The planner: when to ask the policy for the next chunk, and what the plan says now."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from drivers.sensor import Sensor
from drivers.state import Floats, JointState
from runtime.control.timeline import Timeline
from runtime.events import Events
from runtime.policy.chunk import Chunk
from runtime.policy.commands import Commands
from runtime.policy.policy import Policy
from runtime.policy.terms import ActionMap, ObservationBuilder
from runtime.policy.worker.wire import Can


class Planner:
    """Asks for a new chunk every `execute` actions as soon as the policy is free, and samples the timeline.

    d (delay) <= s (`execute`) <= H - d keeps the plan from running out; see docs/architecture.md.
    """

    def __init__(
        self,
        policy: Policy,
        timeline: Timeline,
        observation: ObservationBuilder,
        actions: ActionMap,
        commands: Commands,
        sensors: Sequence[tuple[Sensor, float]],
        execute: int,
        events: Events,
        on_laid: Callable[[Chunk, int, float], None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        fallback: Planner | None = None,
    ) -> None:
        """`execute`: actions between two requests (s). `on_laid(chunk, now_ns, seam_step)`: told of each.

        `fallback`: takes over while there is no plan; it is nobody's else.
        """
        self.policy = policy
        self.fallback = fallback
        self.timeline = timeline
        self.commands = commands
        self.tasks = observation.tasks
        self.task = self.tasks.now
        """What the last request was for, and so the chunk that answers it."""
        self.starved_ticks = 0
        self.starved = False
        """The plan has run out, and that of the fallback; the robot holds."""
        self.chunks = 0
        """Chunks laid since the process began."""
        self.useless_chunks = 0
        """Chunks that came too late to be of any use."""
        self.seam_step_max = 0.0
        """Largest step between an old plan and the new one, rad, before the envelope."""
        self._observation = observation
        self._actions = actions
        self._sensors = [(sensor, round(max_age_s * 1e9)) for sensor, max_age_s in sensors]
        self._interval_ns = execute * timeline.period_ns
        self._events = events
        self._on_laid = on_laid
        self._clock = clock
        self._running = False
        self._out = False
        """The plan has run out."""
        self._blind = False
        self._next_ns = self._began_ns = 0
        self._raw: Floats = np.zeros((1, actions.size))
        self._hold: Floats = np.zeros(0)

    @property
    def has_tasks(self) -> bool:
        """The policy learns of the task: its observation shows it, or its backend is told."""
        return self._observation.shows_task or Can.TASK in self.policy.can

    @property
    def falls_back(self) -> bool:
        """The fallback moves the robot."""
        return self._out and not self.starved

    def start(self, command: Floats, now_ns: int) -> None:
        """Begin from `command` (rad, shape (joints,)) and without any plan: old chunks are forgotten."""
        self.stop()
        self._begin(command, now_ns)
        self.commands.start(now_ns)

    def _begin(self, command: Floats, now_ns: int) -> None:
        self._hold = command.copy()
        self._raw = np.zeros((1, self._actions.size))
        self._next_ns = self._began_ns = now_ns
        self.starved = self._out = self._blind = False
        self._running = True

    def stop(self) -> None:
        """Forget the plan; a chunk that is still being computed will be dropped, whenever it comes."""
        self._running = False
        self.timeline.clear()
        if self.fallback is not None:
            self.fallback.stop()

    def lay(self, chunk: Chunk) -> None:
        """Lay a chunk that has arrived over the timeline."""
        if not self._running or chunk.t0_ns < self._began_ns:
            return
        now_ns = self._clock()
        # A robot that had no plan has stood still since the observation: it begins with the first action, instead
        # of leaping to where it would be by now.
        t0_ns = chunk.t0_ns if self._ahead(now_ns) else now_ns
        step = self.timeline.lay(t0_ns, self._actions.goals(chunk.actions, self._hold), now_ns)
        if step is None:
            self.useless_chunks += 1
            return
        self._raw = chunk.actions
        self.chunks += 1
        self.seam_step_max = max(self.seam_step_max, step)
        if self._on_laid is not None:
            self._on_laid(chunk, now_ns, step)

    def sample(self, now_ns: int, goal: Floats) -> bool:
        """Write the plan's goals for `now_ns` into `goal` (rad). False: there is no plan, `goal` is untouched."""
        if self.timeline.sample(now_ns, goal):
            if self._out:
                self._out = self.starved = False
                if self.fallback is not None:
                    self.fallback.stop()
                self._events.emit("policy.recovered", "the policy's plan goes on")
            return True
        if self.timeline.empty:
            return False
        if not self._out:
            self._run_out(now_ns, goal)
        was_starved = self.starved
        self.starved = self.fallback is None or not self.fallback.timeline.sample(now_ns, goal)
        self.starved_ticks += self.starved
        if was_starved and not self.starved:
            self._events.emit("policy.fallback", "the fallback policy moves the robot", level="warning")
        return not self.starved

    def due(self, now_ns: int) -> bool:
        """Whether it is time for the next chunk, and the policy is free; or likewise of the fallback."""
        self.commands.follow_schedule(now_ns)
        return self._is_due(now_ns) or (self.fallback is not None and self.fallback._is_due(now_ns))

    def ask(self, now_ns: int, state: JointState) -> None:
        """Ask whoever is due for the chunk that begins now. A few microseconds each."""
        for planner in (self, self.fallback):
            if planner is not None and planner._is_due(now_ns):
                planner._ask(now_ns, state)

    def _run_out(self, now_ns: int, goal: Floats) -> None:
        self._out = True
        what = "holding until it goes on"
        if self.fallback is not None:
            self.fallback._begin(goal, now_ns)
            what = "the fallback policy is asked"
        self._events.emit("policy.starved", f"the policy's plan has run out: {what}", level="warning")

    def _ahead(self, now_ns: int) -> bool:
        """Whether anybody has a plan, so that the robot moves."""
        own = self.timeline.ahead_s(now_ns) > 0
        return own or (self.fallback is not None and self.fallback.timeline.ahead_s(now_ns) > 0)

    def _is_due(self, now_ns: int) -> bool:
        return self._running and now_ns >= self._next_ns and self.policy.ready and not self.policy.busy

    def _ask(self, now_ns: int, state: JointState) -> None:
        last_action = self._raw[0 if self.timeline.empty else self.timeline.row(now_ns)]
        complete = self._observation.build(self.policy.observation, state, self.commands.values, last_action)
        old = [sensor.name for sensor, limit_ns in self._sensors if now_ns - sensor.stamp_ns > limit_ns]
        if old or not complete:
            self._look_away(old)
            return
        self._blind = False
        self.task = self.tasks.now
        if self.policy.request(now_ns):
            # Keep the phase, so that a policy's rate is exact; after a gap begin anew rather than catch up.
            on_time = now_ns - self._next_ns < self._interval_ns
            self._next_ns = (self._next_ns if on_time else now_ns) + self._interval_ns

    def _look_away(self, old: list[str]) -> None:
        if self._blind:
            return
        self._blind = True
        lacking = [f"sensor {name} is too old" for name in old] or self._observation.missing()
        self._events.emit(
            "policy.blind",
            f"the policy is not asked, its observation is not complete: {', '.join(lacking)}",
            level="warning",
        )
