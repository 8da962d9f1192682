"""Blend: the new chunk takes over without a step, and without a kink, and is itself after a while."""

from __future__ import annotations

from drivers.state import Floats
from runtime.control.fade import Fade
from runtime.control.seams.seam import Join
from runtime.control.track import Track


def blend(fade_ns: int) -> Join:
    """Cancel the offset at the seam, in position and in velocity, and fade it out within `fade_ns`.

    Joints that are held between actions are not smeared: the new chunk's value counts at once.
    """

    def join(old: Track, new: Track, at_ns: int, offset: Floats) -> Track:
        if new.held is not None:
            offset[:, new.held] = 0.0
            if new.held.all():
                return new
        new.fade = Fade(at_ns, fade_ns, offset)
        return new

    return join
