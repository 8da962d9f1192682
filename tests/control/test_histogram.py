from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.control.histogram import Histogram


def test_empty_histogram_is_all_zero() -> None:
    assert Histogram().summary_us() == {"count": 0, "mean": 0.0, "p50": 0, "p99": 0, "p99.9": 0, "max": 0}


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.floats(0.001, 1.0))
def test_percentile_is_within_one_64th_above_the_true_one(values: list[int], fraction: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    rank = max(1, -(-len(values) * fraction // 1))
    true = sorted(values)[int(rank) - 1]
    assert true <= histogram.percentiles_ns(fraction)[0] <= true * (1 + 1 / 64)


def test_every_duration_has_a_bucket_and_negative_counts_as_zero() -> None:
    histogram = Histogram()
    for value in (-5, 0, 1, 2**20, 2**62):
        histogram.add(value)
    assert histogram.count == 5
    assert histogram.max_ns == 2**62
    assert histogram.percentiles_ns(0.2) == [0]


def test_memory_does_not_grow() -> None:
    histogram = Histogram()
    size = len(histogram._buckets)
    rng = random.Random(1)
    for _ in range(2000):
        histogram.add(rng.randrange(10**9))
    assert len(histogram._buckets) == size
    assert histogram.summary_us()["mean"] == pytest.approx(5e5, rel=0.05)
    histogram.clear()
    assert histogram.summary_us()["max"] == 0
