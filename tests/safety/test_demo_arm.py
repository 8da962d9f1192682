"""The demo's arm under policies that mean no good, in simulated time: nothing gets past the envelope."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from configs.demo.expert import JOINTS, KD, KP, LIMIT, REST
from drivers.emulated.plant import Plant
from drivers.state import Floats
from runtime.config.config import Config
from runtime.config.load import load
from runtime.config.workspace import space
from safety.axis import Limit
from safety.envelope import Envelope
from safety.workspace.guard import Space

CONFIGS = Path(__file__).parents[2] / "configs"
POSITION_STEP = 2 * math.pi / 4096
Policy = Callable[[Config, np.random.Generator], Iterator[Floats]]


@pytest.fixture(scope="module")
def config() -> Config:
    return load(CONFIGS / "demo.toml")


@pytest.fixture(scope="module")
def arm(config: Config) -> Space:
    found = space(config)
    assert found is not None
    return found


def noise(config: Config, rng: np.random.Generator) -> Iterator[Floats]:
    """Another place in every tick, often out of range."""
    while True:
        yield rng.normal(REST, 2.0)


def steps(config: Config, rng: np.random.Generator) -> Iterator[Floats]:
    """Jumps from one end of the ranges to the other."""
    low = np.array([joint.position_min for joint in config.joints])
    high = np.array([joint.position_max for joint in config.joints])
    while True:
        goal = np.where(rng.random(len(low)) < 0.5, low, high) * rng.uniform(0.3, 1.2)
        for _ in range(int(rng.integers(1, 150))):
            yield goal


def no_numbers(config: Config, rng: np.random.Generator) -> Iterator[Floats]:
    """Good goals with NaN and infinities among them."""
    for goal in steps(config, rng):
        bad = rng.choice([math.nan, math.inf, -math.inf, 1e300], len(goal))
        yield np.where(rng.random(len(goal)) < 0.02, bad, goal)


def mirrored(config: Config, rng: np.random.Generator) -> Iterator[Floats]:
    """A smooth motion that a good policy would make, with every sign turned."""
    tick = 0
    while True:
        tick += 1
        swing = np.sin(2 * math.pi * tick * config.period_s * np.array([0.3, 0.5, 0.4, 0.2, 0.7, 0.3, 1.0]))
        yield -(REST + swing * np.array([1.5, 1.2, 0.8, 0.5, 0.8, 0.5, 0.6]))


POLICIES = [noise, steps, no_numbers, mirrored]


def run(config: Config, arm: Space, policy: Policy, seed: int, ticks: int) -> tuple[Floats, Envelope]:
    """The commands of a run from the arm's rest, shape (ticks + 1, joints), and the envelope at its end."""
    envelope = Envelope(config.joints, config.period_s, None, arm)
    envelope.reset(REST)
    path = np.empty((ticks + 1, len(REST)))
    path[0] = REST
    for goal, command in zip(policy(config, np.random.default_rng(seed)), path[1:], strict=False):
        envelope.apply(goal, command)
    return path, envelope


@pytest.mark.parametrize("policy", POLICIES)
def test_no_policy_gets_past_the_envelope(config: Config, arm: Space, policy: Policy) -> None:
    minutes = 5
    path, envelope = run(config, arm, policy, 1, int(minutes * 60 / config.period_s))
    speeds = np.diff(path, axis=0) / config.period_s
    changes = np.diff(speeds, axis=0) / config.period_s
    for joint, way, speed, change in zip(config.joints, path.T, speeds.T, changes.T, strict=True):
        assert joint.position_min <= way.min() <= way.max() <= joint.position_max
        assert np.abs(speed).max() <= joint.velocity_max * (1 + 1e-9)
        assert np.abs(change).max() <= joint.acceleration_max * (1 + 1e-9) + 1e-6
    seen = [arm.clearances(place.tolist()) for place in path]
    assert min(min(borders) for borders, _ in seen) >= 0
    assert min(apart for _, apart in seen) >= 0
    assert np.abs(speeds).max() > 1, "it does move"
    assert envelope.counts[Limit.WORKSPACE].any() or envelope.counts[Limit.COLLISION].any()


@pytest.mark.parametrize("policy", POLICIES)
def test_without_its_workspace_the_arm_would_hit(config: Config, arm: Space, policy: Policy) -> None:
    """What the test above would look like if the guard did nothing."""
    envelope = Envelope(config.joints, config.period_s)
    envelope.reset(REST)
    command, worst = np.empty(len(REST)), 1.0
    for _, goal in zip(range(6000), policy(config, np.random.default_rng(1)), strict=False):
        envelope.apply(goal, command)
        borders, apart = arm.clearances(command.tolist())
        worst = min(worst, apart, *borders)
    assert worst < -0.01


@pytest.mark.parametrize("policy", POLICIES)
def test_the_arm_itself_stays_above_the_ground(config: Config, arm: Space, policy: Policy) -> None:
    """The commands drive the plant as the emulated servos do: a servo lags, sags and overshoots."""
    plant = Plant(CONFIGS / "demo/arm.xml", JOINTS)
    plant.power(True)
    path, _ = run(config, arm, policy, 2, int(30 / config.period_s))
    deepest, nearest = 1.0, 1.0
    for tick, command in enumerate(path):
        for i, axis in enumerate(plant.axes):
            sent = round(command[i] / POSITION_STEP) * POSITION_STEP
            axis.drive(float(KP[i]), float(KD[i]), float(KP[i] * sent), float(LIMIT[i]))
        plant.advance((tick + 1) * config.period_s)
        borders, apart = arm.clearances([axis.position for axis in plant.axes])
        deepest, nearest = min(deepest, *borders), min(nearest, apart)
    assert deepest > -0.05, "the ground itself is 0.05 m below the plane"
    assert nearest > 0
