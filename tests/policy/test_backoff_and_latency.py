"""The decisions that depend on time, with the time given."""

from __future__ import annotations

from runtime.child.backoff import Backoff
from runtime.policy.latency import Latency

SECOND = 1_000_000_000


def test_the_wait_doubles_up_to_its_limit():
    backoff = Backoff()
    assert [backoff.failed(0) for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_ten_seconds_of_health_make_it_start_over():
    backoff = Backoff()
    for _ in range(5):
        backoff.failed(0)
    backoff.ready(100 * SECOND)
    assert backoff.failed(110 * SECOND - 1) == 5.0
    backoff.ready(200 * SECOND)
    assert backoff.failed(210 * SECOND) == 0.2


def test_time_without_service_is_no_health():
    backoff = Backoff()
    backoff.ready(0)
    assert backoff.failed(SECOND) == 0.2
    assert backoff.failed(100 * SECOND) == 0.4


def test_the_slow_start_of_a_run_is_forgotten():
    latency = Latency()
    assert (latency.last_ns, latency.recent_max_ns, latency.count) == (0, 0, 0)
    latency.add(700)
    for _ in range(9):
        latency.add(20)
    assert latency.recent_max_ns == 700
    latency.add(30)
    assert (latency.last_ns, latency.recent_max_ns, latency.count) == (30, 30, 11)
