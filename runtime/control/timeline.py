"""The timeline: the plan ahead, action chunks laid over absolute time. Sampling it never waits."""

from __future__ import annotations

import numpy as np

from drivers.state import Floats
from runtime.control.seams.seam import Seam, Strategy
from runtime.control.track import Mask, Track


class Timeline:
    """The chunk that is executed, and the one that takes over from it at a moment to come."""

    def __init__(self) -> None:
        self._track: Track | None = None
        self._next: Track | None = None
        self._begin_ns = 0
        """When the next one takes over."""

    def clear(self) -> None:
        """Forget the plan."""
        self._track = self._next = None

    @property
    def empty(self) -> bool:
        """No chunk was laid since `clear`."""
        return self._track is None

    @property
    def newest(self) -> Track | None:
        """The chunk that was laid last, begun or not."""
        return self._next or self._track

    @property
    def by(self) -> str:
        """Who made the chunk that was sampled last; empty when there is none."""
        return self._track.by if self._track is not None else ""

    def lay(self, track: Track, now_ns: int, strategy: Strategy, begin_ns: int = 0) -> Seam | None:
        """Lay a chunk over the plan, from the action that is due. Returns what the seam does.

        It takes over now, or at its own first moment or `begin_ns` if those are to come, but before the plan in
        force ends. None: it is of no use, as it is wholly past by then, or older than the one of the same maker.
        """
        if self._next is not None and now_ns >= self._begin_ns:
            self._track, self._next = self._next, None
        old = self._track
        if old is None or now_ns >= old.end_ns:
            if track.end_ns <= now_ns:
                return None
            self._track, self._next = track, None
            return Seam(track.by, strategy.name, now_ns, 0.0, 0.0, 0.0)
        # At the last action the plan still moves; one period later it stands.
        at_ns = max(now_ns, min(max(track.t0_ns, begin_ns), old.end_ns - old.period_ns))
        if track.end_ns <= at_ns or _older(track, old) or _older(track, self._next):
            return None
        leaves = old.motion(at_ns)
        offset = leaves - track.motion(at_ns)
        before_rad = _largest(offset[0], track.held)
        joined = strategy.join(old, track, at_ns, offset)
        self._next, self._begin_ns = joined, at_ns
        after_rad = _largest(leaves[0] - joined.motion(at_ns)[0], track.held)
        fade_s = (joined.fade.end_ns - at_ns) / 1e9 if joined.fade is not None else 0.0
        return Seam(track.by, strategy.name, at_ns, before_rad, after_rad, fade_s)

    def sample(self, now_ns: int, out: Floats) -> bool:
        """Write the goals for `now_ns` into `out` (rad, shape (joints,)). False: starved, `out` untouched."""
        if self._next is not None and now_ns >= self._begin_ns:
            self._track, self._next = self._next, None
        return self._track is not None and self._track.sample(now_ns, out)

    def at(self, at_ns: int) -> Track | None:
        """The chunk that is in force at a moment, now or to come; None: no chunk was laid."""
        return self._next if self._next is not None and at_ns >= self._begin_ns else self._track

    def committed(self, t0_ns: int, period_ns: int, most: int) -> Floats:
        """Goals that run at `t0 + i * period` if nothing new comes, rad, shape (K, joints) with K <= `most`.

        K is 0 where there is no plan at `t0`.
        """
        track = self.at(t0_ns)
        if track is None:
            return np.empty((0, 0))
        end_ns = self._begin_ns if self._next is not None and track is self._track else track.end_ns
        count = min(most, -((t0_ns - end_ns) // period_ns))
        return track.rows(t0_ns, period_ns, max(count, 0))

    @property
    def end_ns(self) -> int:
        """When the plan ends, CLOCK_MONOTONIC ns; 0 when there is none."""
        newest = self.newest
        return newest.end_ns if newest is not None else 0

    def ahead_s(self, now_ns: int) -> float:
        """How long the plan lasts from `now_ns`, s; 0 when starved."""
        return max(self.end_ns - now_ns, 0) / 1e9


def _older(track: Track, other: Track | None) -> bool:
    return other is not None and other.by == track.by and track.t0_ns < other.t0_ns


def _largest(offset: Floats, held: Mask | None) -> float:
    """The offset (rad) of the joint that has the largest; of those that are held only where all are."""
    if held is not None and not held.all():
        offset = offset[~held]
    largest: float = max(map(abs, offset.tolist()))
    return largest
