"""Fixed-size histogram of durations: a list increment per value, percentiles computed only when asked."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

SUB_BITS = 6
"""Sub-buckets per power of two, as a power of two: 64 of them keep every figure within 1/64 = 1.6 %."""
_SUB = 1 << SUB_BITS
_BUCKETS = (64 - SUB_BITS) * _SUB


class Histogram:
    """Durations in ns. Memory never grows; negative values count as 0."""

    __slots__ = ("_buckets", "count", "max_ns", "total_ns")

    def __init__(self) -> None:
        self._buckets = [0] * _BUCKETS
        self.count = 0
        self.total_ns = 0
        self.max_ns = 0

    def add(self, duration_ns: int) -> None:
        """Count one duration, ns."""
        if duration_ns < 0:
            duration_ns = 0
        shift = duration_ns.bit_length() - SUB_BITS - 1
        bucket = duration_ns if shift <= 0 else (shift << SUB_BITS) + (duration_ns >> shift)
        self._buckets[bucket] += 1
        self.count += 1
        self.total_ns += duration_ns
        if duration_ns > self.max_ns:
            self.max_ns = duration_ns

    def percentiles_ns(self, *fractions: float) -> list[int]:
        """For each of `fractions` (0..1) the upper edge of the bucket that holds this value, ns; 0 when empty."""
        if not self.count:
            return [0] * len(fractions)
        seen = list(accumulate(self._buckets))
        return [min(_upper_edge(bisect_left(seen, f * seen[-1])), self.max_ns) for f in fractions]

    def summary_us(self) -> dict[str, float]:
        """`count`, `mean`, `p50`, `p99`, `p99.9` and `max`; durations in us. Costs the loop some 20 us."""
        p50, p99, p999 = self.percentiles_ns(0.5, 0.99, 0.999)
        mean = self.total_ns / self.count if self.count else 0.0
        return {
            "count": self.count,
            "mean": round(mean / 1e3, 1),
            "p50": p50 / 1e3,
            "p99": p99 / 1e3,
            "p99.9": p999 / 1e3,
            "max": self.max_ns / 1e3,
        }

    def clear(self) -> None:
        """Forget everything."""
        self._buckets[:] = [0] * _BUCKETS
        self.count = self.total_ns = self.max_ns = 0


def _upper_edge(bucket: int) -> int:
    if bucket < 2 * _SUB:
        return bucket
    shift = (bucket >> SUB_BITS) - 1
    return ((bucket - (shift << SUB_BITS) + 1) << shift) - 1
