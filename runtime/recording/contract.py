"""What the daemon and the recorder's process agree on; neither loads what only the other one needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

INFO = 2
"""The level of an event that is information, as in the schema foxglove.Log."""
MESSAGE_MAX = 192 * 1024
"""The longest message that the daemon may send; an ordinary socket takes that much."""

Mode = Literal["always", "ring", "episodes"]


@dataclass(frozen=True, slots=True)
class KeepRules:
    """The parts of `[recording]` that decide what is kept."""

    mode: Mode = "always"
    segment_s: float = 600.0
    ring_s: float = 60.0
    after_s: float = 10.0
    window_s: float = 2.0
    limits: float | None = None
    uncertainty: float | None = None
