"""Policies that mean no good, and what becomes of the demo's arm under them, in simulated time.

For the tests, and for the benchmark, which runs them for longer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from configs.demo import train
from configs.demo.expert import FIELDS, JOINTS, KD, KP, LIMIT, RATE, REST
from drivers.emulated.plant import Plant
from drivers.state import Floats
from runtime.config.config import Config
from runtime.config.load import load
from runtime.config.workspace import space
from safety.envelope import Envelope
from safety.workspace.guard import Space

CONFIGS = Path(__file__).parents[1] / "configs"
POSITION_STEP = 2 * math.pi / 4096

Policy = Callable[[Config, np.random.Generator], Iterator[Floats]]
"""The goal of each tick, rad, in the robot's order."""


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
    """The demo's own policy at its work on another arm, with the sign of every action turned."""
    assert config.policy is not None
    policy, last = train.load(str(config.policy.model)), REST
    other, ticks = _plant(config, int(rng.integers(1000))), 0
    envelope = Envelope(config.joints, config.period_s)
    envelope.reset(REST)
    command = np.empty(len(REST))
    while True:
        state = [[axis.position for axis in other.axes], [axis.velocity for axis in other.axes]]
        chunk = policy(np.concatenate((*state, last, other.sensor(FIELDS))))
        for last in chunk[: config.policy.execute]:
            for _ in range(round(1 / RATE / config.period_s)):
                envelope.apply(last, command)
                _drive(other, command)
                ticks += 1
                other.advance(ticks * config.period_s)
                yield -last
        if other.score()["done"]:
            other.reset(int(rng.integers(1000)))
            envelope.reset(REST)


POLICIES: dict[str, Policy] = {f.__name__: f for f in (noise, steps, no_numbers, mirrored)}


@dataclass
class Trial:
    """How one run went: all of the commands, and how near the arm itself came to what it must not reach."""

    commands: Floats
    """Shape (ticks + 1, joints), rad; the first row is where the arm rests."""
    room: Floats = field(default_factory=lambda: np.full((len(JOINTS), 2), math.inf))
    """Smallest distance of each joint from the lower and the upper end of its range in the model, rad."""
    apart: float = math.inf
    """Smallest distance between two parts of the arm, m; those further apart than 0.2 m count as 0.2 m."""
    height: float = math.inf
    """Lowest point of the tool above the ground, m."""


def run(policy: Policy, seconds: float, seed: int, guarded: bool = True) -> Trial:
    """Let the arm do what the policy wants, from its rest on. `guarded`: with its workspace and its own shape."""
    config = load(CONFIGS / "demo.toml")
    arm = space(config)
    assert arm is not None
    plant = _plant(config, seed)
    envelope = Envelope(config.joints, config.period_s, None, arm if guarded else None)
    envelope.reset(REST)
    ticks = round(seconds / config.period_s)
    trial = Trial(np.empty((ticks + 1, len(REST))))
    trial.commands[0] = REST
    ends = np.array([plant.model.joint(name).range for name in JOINTS])
    goals = policy(config, np.random.default_rng(seed))
    for tick, command in enumerate(trial.commands[1:], 1):
        envelope.apply(next(goals), command)
        _drive(plant, command)
        plant.advance(tick * config.period_s)
        _look(trial, plant, arm, ends)
    return trial


def _plant(config: Config, seed: int) -> Plant:
    assert config.emulated is not None
    plant = Plant(config.emulated.model, JOINTS, config.emulated.task, seed=seed)
    plant.power(True)
    return plant


def _drive(plant: Plant, command: Floats) -> None:
    """As the emulated servos do, which lag, sag and overshoot."""
    sent = np.round(command / POSITION_STEP) * POSITION_STEP
    for i, axis in enumerate(plant.axes):
        axis.drive(float(KP[i]), float(KD[i]), float(KP[i] * sent[i]), float(LIMIT[i]))


def _look(trial: Trial, plant: Plant, arm: Space, ends: Floats) -> None:
    angles = [axis.position for axis in plant.axes]
    np.minimum(trial.room, (angles - ends.T).T * (1.0, -1.0), out=trial.room)
    height = plant.data.site("tcp").xpos[2]
    trial.apart, trial.height = min(trial.apart, arm.clearances(angles)[1]), min(trial.height, float(height))
