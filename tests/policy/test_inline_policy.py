"""The policy inside the tick: the bad example must run the same model."""

from __future__ import annotations

import time

import pytest

from runtime.events import Events
from runtime.policy.errors import PolicyError
from runtime.policy.inline import InlinePolicy
from runtime.policy.spec import WorkerSpec


def make(zoo, chunks, **overrides):
    spec = {"backend": "model_zoo:Moody", "observation_size": 5, "horizon": 4, "action_size": 3, "period_s": 0.02}
    spec |= overrides
    return InlinePolicy(WorkerSpec(**spec), Events(), chunks.append)


async def test_a_request_blocks_and_its_chunk_counts_from_the_end(zoo):
    chunks = []
    policy = make(zoo, chunks, latency_s=0.05)
    assert not policy.request(0), "not started"
    await policy.start()
    policy.observation[:] = [0.0, 1.0, 2.0, 3.0, 4.0]
    t0_ns = time.monotonic_ns()
    assert policy.request(t0_ns)
    (chunk,) = chunks
    assert chunk.actions.tolist() == [[10.0] * 3, [11.0] * 3, [12.0] * 3, [13.0] * 3]
    assert t0_ns + 50_000_000 <= chunk.t0_ns <= time.monotonic_ns()
    assert chunk.t0_ns - t0_ns >= chunk.latency_ns == policy.latency.last_ns >= 50_000_000
    assert not policy.busy
    await policy.close()
    assert not policy.ready


async def test_failures_are_told_and_counted(zoo):
    chunks = []
    policy = make(zoo, chunks)
    await policy.start()
    for mood in (zoo.NAN, zoo.SHAPE, zoo.RAISE):
        policy.observation[0] = mood
        assert policy.request(time.monotonic_ns())
    assert policy.failures == {"nan": 1, "wrong_shape": 1, "error": 1}
    assert not chunks
    policy.observation[0] = zoo.WELL
    assert policy.request(time.monotonic_ns())
    assert len(chunks) == 1


async def test_a_start_that_fails_says_why(zoo):
    with pytest.raises(PolicyError, match=r"the policy cannot start: found output of shape \[4, 7\]"):
        await make(zoo, [], backend="model_zoo:Wide").start()
