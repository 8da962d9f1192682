"""An action chunk as it leaves the policy, before anybody gives its numbers a meaning."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from drivers.state import Floats


class Chunk(NamedTuple):
    """H future actions, spaced by the policy's period; the first one is meant for the moment `t0_ns`."""

    t0_ns: int
    """CLOCK_MONOTONIC time of the observation that the policy answered, ns."""
    actions: Floats
    """Raw output of the policy, no units, shape (H, A)."""
    latency_ns: int
    """From the observation to the arrival of the chunk, ns."""
    sequence: int
    """Number of the request that it answers; counts up from 1."""
    curve: Floats | None = None
    """The curve through its goals, `Curve.through`, where a worker has computed it; shape (H, 4, joints)."""
    uncertainty: float = math.nan
    """How unsure the policy is of it, in its own unit; NaN where it does not say."""
    frames: Mapping[str, tuple[int, int]] = MappingProxyType({})
    """By camera, number and capture time (CLOCK_MONOTONIC, ns) of the frame that the policy was shown."""
