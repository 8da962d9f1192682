"""Fixed-size histogram of durations: a list increment per value, percentiles computed only when asked."""

from __future__ import annotations

SUB_BITS = 4
"""Sub-buckets per power of two, as a power of two: 16 of them keep every figure within 1/16 = 6 %."""
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

    def percentile_ns(self, fraction: float) -> int:
        """Upper edge of the bucket that holds the value at `fraction` (0..1), ns; 0 when empty."""
        if not self.count:
            return 0
        rank = fraction * self.count
        seen = 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if count and seen >= rank:
                return min(_upper_edge(bucket), self.max_ns)
        return self.max_ns

    def summary_us(self) -> dict[str, float]:
        """`count`, `mean`, `p50`, `p99`, `p99.9` and `max`; durations in us."""
        mean = self.total_ns / self.count if self.count else 0.0
        return {
            "count": self.count,
            "mean": round(mean / 1e3, 1),
            "p50": self.percentile_ns(0.5) / 1e3,
            "p99": self.percentile_ns(0.99) / 1e3,
            "p99.9": self.percentile_ns(0.999) / 1e3,
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
