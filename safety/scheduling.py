"""Real-time scheduling of the calling thread."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scheduling:
    """What was asked for, and what became of it."""

    achieved: bool
    detail: str
    """What is in force, or why it is not and what to do."""


def run_as_fifo(priority: int) -> Scheduling:
    """Run the calling thread, and only it, under SCHED_FIFO at `priority` (1 to 99, 0: leave it). Never raises."""
    if priority == 0:
        return Scheduling(False, "not asked for: priority is 0")
    try:
        # RESET_ON_FORK: what this thread starts is ordinary again.
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(priority))
    except OSError as error:
        return Scheduling(
            False,
            f"SCHED_FIFO {priority} was refused: {error.strerror or error} "
            "(needs root, or LimitRTPRIO in the service)",
        )
    return Scheduling(True, f"SCHED_FIFO {priority}")
