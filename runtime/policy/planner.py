"""The planner: what the plan says now, and who makes it."""

from __future__ import annotations

import time
from collections.abc import Callable

from drivers.state import Floats, JointState
from runtime.control.seams.seam import Seam, Strategy
from runtime.control.timeline import Timeline
from runtime.events import Events
from runtime.policy.chunk import Chunk
from runtime.policy.commands import Commands
from runtime.policy.handover import Handover
from runtime.policy.policy import Policy
from runtime.policy.source import Source
from runtime.policy.tasks import Task, Tasks


class Planner:
    """Lays the chunks of a policy, and of a fallback while that one is silent, over one timeline.

    d (delay) <= s (`execute`) <= H - d keeps the plan from running out; see docs/architecture.md.
    """

    def __init__(
        self,
        source: Source,
        commands: Commands,
        events: Events,
        on_laid: Callable[[Chunk, int, Seam, Task], None] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        fallback: tuple[Source, Handover, Strategy] | None = None,
    ) -> None:
        """`on_laid(chunk, now_ns, seam, task)`: told of each. `fallback`: who takes over, when, by which seam."""
        self.source = source
        self.fallback: Source | None = None
        if fallback is not None:
            self.fallback, self._handover, self._change = fallback
        self.timeline = Timeline()
        self.commands = commands
        self.starved_ticks = 0
        self.starved = False
        """The plan has run out; the robot holds."""
        self.chunks = 0
        """Chunks laid since the process began."""
        self.useless_chunks = 0
        """Chunks that came too late to be of any use."""
        self.seam: Seam | None = None
        """The last one."""
        self.seam_step_max = 0.0
        """Largest step that was left at a seam, rad, before the envelope."""
        self.seam_before_max = 0.0
        """Largest step that a chunk would have made as it came, rad."""
        self._events = events
        self._on_laid = on_laid
        self._clock = clock
        self._by = source.name
        self._own_end_ns = 0
        """Where the plan of the first policy ends."""

    @property
    def policy(self) -> Policy:
        """The first policy."""
        return self.source.policy

    @property
    def tasks(self) -> Tasks:
        """The tasks that there are, and the one in force, for the first policy and the fallback."""
        return self.source.tasks

    @property
    def sources(self) -> list[Source]:
        """The first policy and the fallback, as far as they are there."""
        return [self.source] if self.fallback is None else [self.source, self.fallback]

    @property
    def falls_back(self) -> bool:
        """The fallback moves the robot."""
        return self._by != self.source.name and not self.starved

    def start(self, command: Floats, now_ns: int) -> None:
        """Begin from `command` (rad, shape (joints,)) and without any plan: old chunks are forgotten."""
        self.stop()
        self.source.hold = command.copy()
        self.source.begin(now_ns)
        self.commands.start(now_ns)
        self.starved, self._by, self._own_end_ns = False, self.source.name, 0
        if self.fallback is not None:
            self.fallback.hold = command.copy()
            self._handover.begin(now_ns)

    def stop(self) -> None:
        """Forget the plan; a chunk that is still being computed will be dropped, whenever it comes."""
        self.timeline.clear()
        for source in self.sources:
            source.stop()

    def lay(self, chunk: Chunk, source: Source | None = None) -> None:
        """Lay a chunk that has arrived over the timeline. `source`: whose it is; left out: the first policy's."""
        source = source or self.source
        if not source.answered(chunk):
            return
        now_ns = self._clock()
        begin_ns = now_ns
        if source is self.fallback:
            if not self._needs(source, now_ns):
                return
            begin_ns = self._stand_in(source, now_ns)
        elif self.fallback is not None:
            self._handover.answered(now_ns)
            if self._keeps(self.fallback, now_ns):
                return
        # A robot that had no plan has stood still since the observation: it begins with the first action, instead
        # of leaping to where it would be by now.
        track = source.track(chunk, chunk.t0_ns if self.timeline.end_ns > now_ns else now_ns)
        old = self.timeline.at(now_ns)
        strategy = source.strategy if old is None or old.by == source.name else self._change
        seam = self.timeline.lay(track, now_ns, strategy, begin_ns)
        if seam is None:
            self.useless_chunks += 1
            return
        if source is self.source:
            self._own_end_ns = track.end_ns
        self.chunks += 1
        self.seam = seam
        self.seam_step_max = max(self.seam_step_max, seam.after_rad)
        self.seam_before_max = max(self.seam_before_max, seam.before_rad)
        if self._on_laid is not None:
            self._on_laid(chunk, now_ns, seam, source.task)

    def sample(self, now_ns: int, goal: Floats) -> bool:
        """Write the plan's goals for `now_ns` into `goal` (rad). False: there is no plan, `goal` is untouched."""
        if self.timeline.sample(now_ns, goal):
            if self.starved or self.timeline.by != self._by:
                self._tell_who()
            return True
        if self.timeline.empty:
            return False
        self.starved_ticks += 1
        if self.fallback is not None and self._by == self.source.name:
            self.fallback.hold[:] = goal
        if not self.starved:
            self.starved = True
            self._events.emit("policy.starved", "the plan has run out: holding until it goes on", level="warning")
        return False

    def due(self, now_ns: int) -> bool:
        """Whether it is time for the next chunk, and the policy is free; or likewise of the fallback."""
        self.commands.follow_schedule(now_ns)
        fallback = self.fallback
        if fallback is None:
            return self.source.due(now_ns)
        if not self.policy.ready:
            self._handover.lost()
        needed = self._needs(fallback, now_ns)
        if needed and not fallback.running:
            fallback.begin(now_ns)
        elif not needed:
            fallback.stop()
        return self.source.due(now_ns) or fallback.due(now_ns)

    def ask(self, now_ns: int, state: JointState) -> None:
        """Ask whoever is due for its next chunk. Some microseconds each."""
        for source in self.sources:
            if source.due(now_ns):
                source.ask(now_ns, state, self.commands.values, self.timeline)

    def _needs(self, fallback: Source, now_ns: int) -> bool:
        """Whether chunks of the fallback are wanted: it moves the robot, is about to, or the plan nearly ends."""
        newest = self.timeline.newest
        if self._handover.silent(now_ns) or (newest is not None and newest.by == fallback.name):
            return True
        return newest is not None and now_ns >= self._own_end_ns - fallback.scheduler.lead_ns

    def _stand_in(self, fallback: Source, now_ns: int) -> int:
        """When the fallback's chunk is to take over. What it does not move stays where that is then."""
        if self._by == fallback.name:
            return now_ns
        # Until its plan ends the first policy may still answer, and nothing has happened.
        last_ns = self._own_end_ns - self.source.scheduler.period_ns
        at_ns = now_ns if self._handover.silent(now_ns) else max(now_ns, last_ns)
        track = self.timeline.at(at_ns)
        if track is not None and not self.starved:
            fallback.hold = track.position(at_ns)
        return at_ns

    def _keeps(self, fallback: Source, now_ns: int) -> bool:
        """Whether the fallback keeps the robot although the first policy has answered."""
        moves = self._by == fallback.name and self.timeline.end_ns > now_ns
        return moves and fallback.policy.ready and not self._handover.stable(now_ns)

    def _tell_who(self) -> None:
        self.starved, self._by = False, self.timeline.by
        if self._by == self.source.name:
            self._events.emit("policy.recovered", "the policy's plan goes on")
        else:
            self._events.emit("policy.fallback", "the fallback policy moves the robot", level="warning")
