"""The two formulas of real-time chunking, against what the paper says (arXiv 2506.07339)."""

from __future__ import annotations

import math

import pytest

from runtime.policy.worker.rtc import guidance, weights


def test_the_weight_of_every_action():
    for horizon in range(1, 33):
        for known in range(horizon + 1):
            for delay in range(known + 1):
                found = weights(horizon, known, delay)
                for i in range(horizon):
                    c = (known - i) / (known - delay + 1)
                    soft = c * (math.exp(c) - 1) / (math.e - 1)
                    expected = 1.0 if i < delay else soft if i < known else 0.0
                    assert found[i] == pytest.approx(expected, abs=1e-6), (horizon, known, delay, i)


def test_weights_of_a_real_chunk():
    """H = 50, s = 12, d = 10: frozen, then ever weaker, then free."""
    found = weights(50, 38, 10)
    assert found.dtype == "float32"
    assert (found[:10] == 1).all()
    assert (found[10:38] < 1).all()
    assert (found[10:38] > 0).all()
    assert (found[38:] == 0).all()
    assert (found[10:37] > found[11:38]).all()


def test_guidance():
    # (1 - tau) / (tau r^2) is (tau^2 + (1 - tau)^2) / (tau (1 - tau)): the same from both ends.
    assert guidance(0.0, 5.0) == 5.0
    assert guidance(0.2, 5.0) == pytest.approx(0.68 / 0.16)
    assert guidance(0.5, 5.0) == pytest.approx(2.0)
    assert guidance(0.8, 5.0) == pytest.approx(0.68 / 0.16)
    assert guidance(0.8, 3.0) == 3.0
    assert guidance(0.99, 5.0) == 5.0
