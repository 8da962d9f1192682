"""The token bucket, in injected time."""

from __future__ import annotations

import pytest

from runtime.link.budget import TokenBucket


def test_a_burst_passes_and_then_the_rate_holds() -> None:
    bucket = TokenBucket(rate=100.0, burst=10.0, now=0.0)
    for _ in range(10):
        assert bucket.wait(0.0) == 0.0
        bucket.take(1.0)
    assert bucket.wait(0.0) == pytest.approx(0.01)
    assert bucket.wait(0.005) == pytest.approx(0.005)
    assert bucket.wait(0.0101) == 0.0


def test_rest_fills_it_up_to_the_burst_and_no_further() -> None:
    bucket = TokenBucket(rate=100.0, burst=3.0, now=0.0)
    passed = 0
    while bucket.wait(1000.0) == 0.0:
        bucket.take(1.0)
        passed += 1
    assert passed == 3


def test_a_debt_is_paid_by_waiting() -> None:
    bucket = TokenBucket(rate=10.0, burst=1.0, now=0.0)
    bucket.take(5.0)
    assert bucket.wait(0.0) == pytest.approx(0.5)
    assert bucket.wait(0.5) == 0.0
