"""The demo's arm under policies that mean no good, in simulated time: nothing gets past the envelope.

`make bench-safety` runs them for longer.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from runtime.config.config import Config
from runtime.config.load import load
from runtime.config.workspace import space
from safety.workspace.guard import Space
from tests.bad_policies import POLICIES, run

CONFIGS = Path(__file__).parents[2] / "configs"
SECONDS = 20.0


@pytest.fixture(scope="module")
def config() -> Config:
    return load(CONFIGS / "demo.toml")


@pytest.fixture(scope="module")
def arm(config: Config) -> Space:
    found = space(config)
    assert found is not None
    return found


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_gets_past_the_envelope(config: Config, arm: Space, policy: str) -> None:
    trial = run(POLICIES[policy], SECONDS, seed=1)
    speeds = np.diff(trial.commands, axis=0) / config.period_s
    changes = np.diff(speeds, axis=0) / config.period_s
    for joint, way, speed, change in zip(config.joints, trial.commands.T, speeds.T, changes.T, strict=True):
        assert joint.position_min <= way.min() <= way.max() <= joint.position_max
        assert np.abs(speed).max() <= joint.velocity_max * (1 + 1e-9)
        assert np.abs(change).max() <= joint.acceleration_max * (1 + 1e-9) + 1e-6
    seen = [arm.clearances(place.tolist()) for place in trial.commands]
    assert min(min(borders) for borders, _ in seen) >= 0
    assert min(apart for _, apart in seen) >= 0
    assert np.abs(speeds).max() > 1, "it does move"
    # The arm itself lags, sags and overshoots under these commands.
    assert trial.room.min() > 0, "no joint reaches an end of its range"
    assert trial.apart > 0
    assert trial.height > 0


@pytest.mark.parametrize("policy", ["noise", "steps", "no_numbers"])
def test_without_its_workspace_the_arm_would_hit(policy: str) -> None:
    """What the test above would look like if the guard did nothing."""
    trial = run(POLICIES[policy], SECONDS, seed=1, guarded=False)
    assert min(trial.apart, trial.height) < -0.01
