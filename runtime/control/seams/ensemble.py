"""Ensemble: each action is an average of all chunks that have one for its moment, as in ACT."""

from __future__ import annotations

import math

import numpy as np

from drivers.state import Floats
from runtime.control.seams.seam import Join
from runtime.control.track import Track


def ensemble(decay: float) -> Join:
    """Temporal ensembling (Zhao et al., arXiv 2304.13705): weights exp(-decay * i), i = 0 for the oldest chunk.

    The average is kept up chunk by chunk: relative to the newest chunk, which weighs 1, all that was averaged
    before grows by exp(decay). There is a step at the seam, by the part that the newest chunk has in it.
    Joints that are held between actions take the newest chunk's value.
    """
    growth = math.exp(decay)

    def join(old: Track, new: Track, at_ns: int, offset: Floats) -> Track:
        before = growth * _weights(old, new)
        weights = before + 1.0
        share = (1.0 / weights)[:, None]
        goals = old.rows(new.t0_ns, new.period_ns, len(new.goals))
        goals += (new.goals - goals) * share
        if new.held is not None:
            goals[:, new.held] = new.goals[:, new.held]
        return Track(new.t0_ns, new.period_ns, goals, new.held, new.by, weights)

    return join


def _weights(old: Track, new: Track) -> Floats:
    """What the chunks in `old` weigh together at each action of `new`; 0 where they have none; shape (H,)."""
    since = new.t0_ns - old.t0_ns + new.period_ns * np.arange(len(new.goals))
    rows = since // old.period_ns
    covered = (rows >= 0) & (rows < len(old.goals))
    weights = np.ones(len(old.goals)) if old.weights is None else old.weights
    return np.where(covered, weights[np.clip(rows, 0, len(old.goals) - 1)], 0.0)
