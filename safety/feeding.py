"""Tells everybody who would act if the software froze that it has not: the watchdogs and the heartbeat line.

All of them hear from the safety thread, and only while the control loop beats. So a dead thread, a dead loop and a
dead process look the same to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from safety.beat import Heartbeat
from safety.pulse import Pulse
from safety.recovery import Tell
from safety.watchdog import Watchdog

FEEDS = 4
"""So often within its time-out a watchdog is fed."""
RESTART_S = 5.0
"""What a restart of the daemon takes, s: ended by the service manager, a pause, a start that finds every motor."""


class Feeding:
    """Feeds what there is to feed. It has no thread; `step` is called by the safety thread."""

    def __init__(
        self,
        watchdogs: Sequence[Watchdog],
        pulse: Pulse | None,
        beat: Heartbeat,
        stall_ns: int,
        tell: Tell,
    ) -> None:
        """`watchdogs`: the mildest first; each must leave the one before it the time to do its work."""
        self.due_ns: int | None = None
        """When the next `step` is due, CLOCK_MONOTONIC, ns; None: at nobody's time."""
        self._watchdogs = tuple(watchdogs)
        self._pulse = pulse
        self._beat = beat
        self._stall_ns = stall_ns
        self._tell = tell
        self._due_ns = [0] * len(self._watchdogs)
        self._problems: dict[int, str] = {}

    @property
    def watchdog_problem(self) -> str:
        """Why watchdogs could not be fed; empty while all can be."""
        return "; ".join(self._problems.values())

    @property
    def pulse_problem(self) -> str:
        """Why the heartbeat line cannot be driven; empty while it obeys, or when there is none."""
        problem = self._pulse.problem if self._pulse is not None else ""
        return problem and f"the heartbeat line cannot be driven: {problem}"

    def open(self) -> None:
        """Arm the watchdogs. Raises WatchdogError; those that were armed before are for `close` then."""
        for watchdog in self._watchdogs:
            message, level = watchdog.open()
            self._tell("safety.watchdog_armed", message, level)
        for first, second in pairwise(self._watchdogs):
            if second.timeout_s < first.timeout_s + RESTART_S:
                self._tell(
                    "safety.watchdog_short",
                    f"{second.name} acts after {second.timeout_s:g} s: too soon for {first.name}, which needs "
                    f"{first.timeout_s:g} s to act and about {RESTART_S:g} s for the daemon to start again; "
                    "raise safety.watchdog.timeout",
                    "warning",
                )

    def step(self, now_ns: int, power_cut: bool = False) -> None:
        """Feed whoever is due. `now_ns`: CLOCK_MONOTONIC, ns; `power_cut`: the heartbeat line rests all the same.

        The watchdogs are fed then: a restart or a reset of the machine makes no relay open.
        """
        beat = self._beat.last
        alive = beat is None or now_ns - beat.now_ns <= self._stall_ns
        if self._pulse is not None:
            self._pulse.step(now_ns, alive and not power_cut)
        if not alive:
            self.due_ns = None  # everybody is due as soon as the loop beats again
            return
        for number, watchdog in enumerate(self._watchdogs):
            if now_ns >= self._due_ns[number]:
                self._feed(number, watchdog, now_ns)
        pulse_ns = self._pulse.due_ns if self._pulse is not None else None
        self.due_ns = min([*self._due_ns, *([] if pulse_ns is None else [pulse_ns])], default=None)

    def close(self, clean: bool) -> None:
        """`clean`: the watchdogs are disarmed; otherwise they are left to act. Never raises."""
        if self._pulse is not None:
            self._pulse.close()
        for watchdog in self._watchdogs:
            message, level = watchdog.close(clean)
            if message:
                self._tell("safety.watchdog_closed", message, level)

    def _feed(self, number: int, watchdog: Watchdog, now_ns: int) -> None:
        self._due_ns[number] = now_ns + round(watchdog.timeout_s / FEEDS * 1e9)
        try:
            watchdog.feed()
        except OSError as error:
            self._problems[number] = f"{watchdog.name} cannot be fed: {error.strerror or error}"
        else:
            self._problems.pop(number, None)
