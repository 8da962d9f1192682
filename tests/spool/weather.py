"""Bad weather on the way to the server: one thing after the other at random, each for a while, and then none."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

from tests.spool.namespace import Uplink

Pair = tuple[Callable[[], None], Callable[[], None]]


def _pairs(uplink: Uplink, generator: random.Random) -> dict[str, Pair]:
    """What happens, and how it ends."""
    return {
        "cable": (lambda: uplink.cable(False), lambda: uplink.cable(True)),
        "far end": (lambda: uplink.cable(False, far=True), lambda: uplink.cable(True, far=True)),
        "restart": (lambda: uplink.server(running=False), lambda: uplink.server(running=True)),
        "wrong credentials": (lambda: uplink.server(checked=True), lambda: uplink.server(checked=False)),
        "full (507)": (lambda: uplink.server(answer=507), lambda: uplink.server(answer=0)),
        "unavailable (503)": (lambda: uplink.server(answer=503), lambda: uplink.server(answer=0)),
        "slow": (lambda: uplink.server(rate_bps=100_000.0), lambda: uplink.server(rate_bps=None)),
        "breaks": (
            lambda: uplink.server(cut_after=generator.randrange(1_000_000)),
            lambda: uplink.server(cut_after=None),
        ),
    }


def storm(uplink: Uplink, seconds: float, longest_s: float, generator: random.Random) -> dict[str, int]:
    """Let it happen for a time; each thing, and each pause, lasts up to `longest_s`. Returns counts."""
    until = time.monotonic() + seconds
    counts: Counter[str] = Counter()
    pairs = _pairs(uplink, generator)
    waiting: list[str] = []
    while time.monotonic() < until:
        if not waiting:  # each of them before any of them again
            waiting = generator.sample(list(pairs), len(pairs))
        what = waiting.pop()
        begin, end = pairs[what]
        begin()
        time.sleep(generator.uniform(0.05, 1.0) * longest_s)
        end()
        time.sleep(generator.uniform(0.05, 1.0) * longest_s)
        counts[what] += 1
    return dict(counts)
