"""Run a policy against the plant faster than real time, with the runtime's timing played in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from configs.demo.expert import FIELDS, JOINTS, KD, KP, LIMIT, Array
from drivers.emulated.plant import Plant
from runtime.config.load import load
from runtime.config.workspace import space
from safety.envelope import Envelope

Policy = Callable[[Array], Array]
"""The chunk (50, 7) for an observation (28,)."""

TICK_NS = 10_000_000
POSITION_STEP = 2 * np.pi / 4096
VELOCITY_STEP = 0.024
MODEL = Path(__file__).with_name("arm.xml")
CONFIG = Path(__file__).parents[1] / "demo.toml"


class Seen(NamedTuple):
    """What is measured in a tick."""

    position: Array
    """rad, shape (7,)."""
    velocity: Array
    """rad/s, shape (7,)."""
    tracker: Array
    """The sensor's fields one after another, shape (7,)."""


class Mechanism(Protocol):
    """When the policy is asked, and what becomes of its chunks; time passes only with its ticks."""

    seams: list[float]
    """How far the goal leapt where one chunk followed another, rad: the joint that leapt furthest."""
    disagreements: list[float]
    """How far each chunk was from the plan in force as it came, rad; empty where it is never known."""

    def tick(self, now_ns: int, seen: Seen, command: Array, goal: Array) -> bool:
        """Write the goal of this tick, rad, (7,). False: there is no plan, and `goal` is untouched.

        `command`: what was commanded last, rad, (7,).
        """

    def last_action(self, now_ns: int) -> Array:
        """The policy's own numbers that are in force, (7,); zeros while there was no chunk yet."""


@dataclass
class Result:
    """What a run gave."""

    in_bin: int = 0
    spawned: int = 0
    seconds: float = 0.0
    observations: list[Array] = field(default_factory=list)
    seams: list[float] = field(default_factory=list)
    """How far the goal leapt at each change of chunks, rad."""
    disagreements: list[float] = field(default_factory=list)
    """How far each chunk was from the plan in force as it came, rad."""
    starved: int = 0
    """Ticks without a plan, once there had been one."""
    limited: int = 0
    """Ticks in which the envelope acted."""
    velocities: list[Array] = field(default_factory=list)
    """How fast the joints really moved in each tick, rad/s, (7,)."""


def observation(seen: Seen, last_action: Array) -> Array:
    """What the policy is asked with, (28,)."""
    return np.concatenate((seen.position, seen.velocity, last_action, seen.tracker))


def envelope() -> Envelope:
    """The demo's limits and workspace."""
    config = load(CONFIG)
    return Envelope(config.joints, config.period_s, None, space(config))


def run(
    mechanism: Mechanism,
    seed: int,
    *,
    start: Array | None = None,
    limit: float = 120.0,
    keep_every: int = 0,
    disturb: np.random.Generator | None = None,
    look: Callable[[Plant], None] | None = None,
) -> Result:
    """One run of ten cubes.

    `start`: first pose (7,). `keep_every`: ticks between kept observations. `disturb`: pushes the goals about,
    delays measurements and stale last actions at random. `look`: shown the plant with each kept observation.
    """
    plant = Plant(MODEL, JOINTS, "drivers.emulated.belt:Belt", seed=seed)
    if start is not None:
        first = plant.model.joint("waist").qposadr[0]
        plant.data.qpos[first : first + 7] = start
        plant.data.qpos[first + 7 : first + 9] = 0.02 * start[6]
    plant.power(True)
    axes = plant.axes
    goal = np.array([a.position for a in axes])
    command = goal.copy()
    limits = envelope()
    limits.reset(goal)
    measured = [_measure(plant)] * 4
    push, push_until_ns = np.zeros(7), 0
    late = 1
    moved = was_planned = False
    result = Result()

    for tick in range(int(limit * 1e9) // TICK_NS):
        now_ns = tick * TICK_NS
        # The pipelined bus: what is read now was measured one tick ago.
        measured = [*measured[1:], _measure(plant)]
        if disturb is not None and disturb.random() < 0.01:
            late = int(disturb.integers(0, 3))
        seen = measured[-1 - late]

        if mechanism.tick(now_ns, seen, command, goal):
            moved = was_planned = True
        elif moved:
            result.starved += 1
            if was_planned:
                limits.stopping_point(goal)
            was_planned = False
        if keep_every and tick % keep_every == 0:
            stale_ns = 0 if disturb is None or disturb.random() > 0.3 else 20_000_000
            result.observations.append(observation(seen, mechanism.last_action(now_ns - stale_ns)))

            if look is not None:
                look(plant)

        wanted = goal
        if disturb is not None:
            if now_ns >= push_until_ns and disturb.random() < 0.003:
                push = disturb.normal(0, 0.06, 7)
                push_until_ns = now_ns + int(1e9 * disturb.uniform(0.05, 0.4))
            if now_ns < push_until_ns:
                wanted = goal + push
        limits.apply(wanted, command)
        result.limited += bool(limits.limits.any())
        sent = np.round(command / POSITION_STEP) * POSITION_STEP
        for i, axis in enumerate(axes):
            axis.drive(KP[i], KD[i], KP[i] * sent[i], LIMIT[i])
        plant.advance((tick + 1) * TICK_NS / 1e9)
        result.velocities.append(np.array([axis.velocity for axis in axes]))
        if tick % 50 == 0 and plant.score()["done"]:
            break
    score = plant.score()
    result.in_bin, result.spawned, result.seconds = int(score["in_bin"]), int(score["spawned"]), plant.time
    result.seams, result.disagreements = mechanism.seams, mechanism.disagreements
    return result


def _measure(plant: Plant) -> Seen:
    position = np.round(np.array([a.position for a in plant.axes]) / POSITION_STEP) * POSITION_STEP
    velocity = np.round(np.array([a.velocity for a in plant.axes]) / VELOCITY_STEP) * VELOCITY_STEP
    return Seen(position, velocity, plant.sensor(FIELDS))
