"""What happens where the plan goes from one chunk to the next: the interface, and the record of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from drivers.state import Floats
from runtime.control.track import Track

Join = Callable[[Track, Track, int, Floats], Track]
"""`join(old, new, at_ns, offset)`: the track that takes over from `old` at a moment (CLOCK_MONOTONIC, ns). `new`
is the chunk as it came, which it may change and return. `offset`: from `new` to `old` at that moment, rad and
rad/s, shape (2, joints); it may keep it. It costs microseconds: it runs between two ticks."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a policy's chunks are joined."""

    name: str
    join: Join
    continues: bool = False
    """The policy is handed the plan that is under way, and answers with a chunk that goes on from it."""


class Seam(NamedTuple):
    """What one seam did. A joint that is held between actions counts only where all are."""

    by: str
    """Whose chunk it is."""
    strategy: str
    at_ns: int
    """When the new chunk takes over, CLOCK_MONOTONIC ns."""
    before_rad: float
    """Largest jump that the chunk would have made as it came, rad; 0 when there was no plan."""
    after_rad: float
    """Largest jump that is left, rad, before the envelope."""
    fade_s: float
    """How long the new plan takes to become the chunk as it came, s; 0: at once."""
