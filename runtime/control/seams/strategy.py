"""The strategies by their names."""

from __future__ import annotations

from typing import Literal

from drivers.state import Floats
from runtime.control.seams.blend import blend
from runtime.control.seams.ensemble import ensemble
from runtime.control.seams.seam import Strategy
from runtime.control.track import Track

Name = Literal["replace", "ensemble", "blend", "prefix"]


def strategy(name: Name, fade_s: float = 0.2, decay: float = 0.01) -> Strategy:
    """The strategy called `name`. `fade_s`: time of a blend, s. `decay`: of an ensemble's weights, by chunk."""
    match name:
        case "replace":
            return Strategy(name, replace)
        case "ensemble":
            return Strategy(name, ensemble(decay))
        case _:
            # A chunk that was continued from the plan agrees with it but for what the policy got wrong.
            return Strategy(name, blend(round(fade_s * 1e9)), continues=name == "prefix")


def replace(old: Track, new: Track, at_ns: int, offset: Floats) -> Track:
    """The new chunk as it is, with a step wherever the two disagree."""
    return new
