"""The demo's flow policy: its file is what the backend expects, and so is what the docs say of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the package onnx, which makes the test's models, is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from configs.demo.flow import OFFSET, SCALE  # noqa: E402
from runtime.cli.overrides import parse_overrides  # noqa: E402
from runtime.config.load import load  # noqa: E402
from tests.policy.flow_models import differences, some_feeds  # noqa: E402

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "configs/demo/flow.onnx"
# The arm waits above the belt, and a cube comes.
SEEN = np.zeros(28)
SEEN[:7] = [0.4, -0.2, 0.5, 0.0, 1.1, 0.4, 1.5]
SEEN[21:] = [0.36, 0.2, 0.1, 0.0, -0.12, 0.0, 1.0]


@pytest.mark.parametrize("tau", [0.0, 0.4, 0.8])
def test_the_derivative_of_the_demo_is_true(tau):
    session = ort.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
    feeds = some_feeds(50, 7, SEEN.astype(np.float32), tau, np.random.default_rng(2))
    found, expected = session.run(["vjp"], feeds)[0], differences(session, feeds, 3e-2)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max() + 1e-3
    assert np.abs(found).max() > 1e-3


def test_the_docs_run_it():
    """The overrides in docs/flow.md are a good config, with the scale that it was trained with."""
    text = (ROOT / "docs/flow.md").read_text()
    config = load(ROOT / "configs/demo.toml", overrides=parse_overrides(re.findall(r"--set '(.*?)'", text)))
    assert config.policy is not None
    assert config.policy.backend == "flow"
    assert config.policy.model == MODEL
    (action,) = config.policy.action
    assert (action.offset, action.scale) == (OFFSET.tolist(), SCALE.tolist())
