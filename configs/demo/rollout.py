"""Run a policy against the plant faster than real time, with the runtime's timing played in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from configs.demo.expert import FIELDS, HORIZON, JOINTS, KD, KP, LIMIT, RATE, Array
from drivers.emulated.plant import Plant
from runtime.config.load import load
from runtime.config.workspace import space
from safety.envelope import Envelope

Policy = Callable[[Array], Array]

TICK = 0.01
POSITION_STEP = 2 * np.pi / 4096
VELOCITY_STEP = 0.024
MODEL = Path(__file__).with_name("arm.xml")
CONFIG = Path(__file__).parents[1] / "demo.toml"


@dataclass(frozen=True)
class Timing:
    """How the policy is run."""

    latency: float = 0.2
    """From observation to chunk, s."""
    execute: int = 12
    """Actions between two inference starts."""
    inline: bool = False
    """The robot holds its goal during the inference, then executes the chunk from its first action."""


@dataclass
class Result:
    """What a run gave."""

    in_bin: int = 0
    spawned: int = 0
    seconds: float = 0.0
    observations: list[Array] = field(default_factory=list)
    seam: float = 0.0
    """Largest step of the plan at a change of chunks, rad, the gripper's aside."""
    limited: int = 0
    """Ticks in which the envelope acted."""


def envelope() -> Envelope:
    """The demo's limits and workspace."""
    config = load(CONFIG)
    return Envelope(config.joints, config.period_s, None, space(config))


def run(
    policy: Policy,
    timing: Timing,
    seed: int,
    *,
    start: Array | None = None,
    limit: float = 120.0,
    keep_every: int = 0,
    disturb: np.random.Generator | None = None,
) -> Result:
    """One run of ten cubes.

    `start`: first pose (7,). `keep_every`: ticks between kept observations. `disturb`: pushes the goals about,
    silences the policy for up to a second, delays measurements and stale `last_action` rows at random.
    """
    plant = Plant(MODEL, JOINTS, "drivers.emulated.belt:Belt", seed=seed)
    if start is not None:
        first = plant.model.joint("waist").qposadr[0]
        plant.data.qpos[first : first + 7] = start
        plant.data.qpos[first + 7 : first + 9] = 0.02 * start[6]
    plant.power(True)
    axes = plant.axes
    goal = np.array([a.position for a in axes])
    limits = envelope()
    limits.reset(goal)
    measured = [_measure(plant)] * 4
    chunk: Array | None = None
    chunk_t0 = 0.0
    pending: tuple[float, float, Array] | None = None
    started, blocked_until = -1e9, 0.0
    push, push_until = np.zeros(7), 0.0
    late = 1
    result = Result()

    for tick in range(int(limit / TICK)):
        now = tick * TICK
        # The pipelined bus: what is read now was measured one tick ago.
        measured = [*measured[1:], _measure(plant)]
        if disturb is not None and disturb.random() < 0.01:
            late = int(disturb.integers(0, 3))
        seen = measured[-1 - late]

        if pending is not None and now >= pending[0] - 1e-9:
            laid = pending[2]
            if chunk is not None and not timing.inline:
                step = _sample(laid, now - pending[1]) - _sample(chunk, now - chunk_t0)
                result.seam = max(result.seam, float(np.abs(step[:6]).max()))
            chunk, chunk_t0, pending = laid, now if timing.inline else pending[1], None
        last_action = np.zeros(7)
        if chunk is not None:
            row = (now - chunk_t0) * RATE + 1e-6
            if disturb is not None:
                row -= 1.0 if disturb.random() < 0.3 else 0.0
            last_action = chunk[int(np.clip(row, 0, HORIZON - 1))]
        observation = np.concatenate((seen[0], seen[1], last_action, seen[2]))
        if keep_every and tick % keep_every == 0:
            result.observations.append(observation)

        since = chunk_t0 if timing.inline and chunk is not None else started
        if pending is None and now - since >= timing.execute / RATE - 1e-9 and now >= blocked_until:
            started = now
            actions = policy(observation)
            if timing.latency <= 0:
                if chunk is not None:
                    step = actions[0] - _sample(chunk, now - chunk_t0)
                    result.seam = max(result.seam, float(np.abs(step[:6]).max()))
                chunk, chunk_t0 = actions, now
            else:
                pending = (now + timing.latency, now, actions)
            if disturb is not None and disturb.random() < 0.01:
                blocked_until = now + disturb.uniform(0.2, 1.2)

        if chunk is not None and not (timing.inline and pending is not None):
            goal = _sample(chunk, now - chunk_t0)
        elif timing.inline:
            goal = limits.position.copy()
        if disturb is not None:
            if now >= push_until and disturb.random() < 0.003:
                push, push_until = disturb.normal(0, 0.06, 7), now + disturb.uniform(0.05, 0.4)
            if now < push_until:
                goal = goal + push
        command = np.empty(7)
        limits.apply(goal, command)
        result.limited += bool(limits.limits.any())
        sent = np.round(command / POSITION_STEP) * POSITION_STEP
        for i, axis in enumerate(axes):
            axis.drive(KP[i], KD[i], KP[i] * sent[i], LIMIT[i])
        plant.advance(now + TICK)
        if tick % 50 == 0 and plant.score()["done"]:
            break
    score = plant.score()
    result.in_bin, result.spawned, result.seconds = int(score["in_bin"]), int(score["spawned"]), plant.time
    return result


def _measure(plant: Plant) -> tuple[Array, Array, Array]:
    position = np.round(np.array([a.position for a in plant.axes]) / POSITION_STEP) * POSITION_STEP
    velocity = np.round(np.array([a.velocity for a in plant.axes]) / VELOCITY_STEP) * VELOCITY_STEP
    return position, velocity, plant.sensor(FIELDS)


def _sample(chunk: Array, since: float) -> Array:
    at = min(since * RATE, HORIZON - 1.0)
    low = min(int(at), HORIZON - 2)
    return np.asarray(chunk[low] + (at - low) * (chunk[low + 1] - chunk[low]))
