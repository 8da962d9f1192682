"""The table's cells: one way to run the policy, one latency, some runs of ten cubes; and what they give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np

from configs.demo.expert import Array
from configs.demo.flow import OFFSET, SCALE
from configs.demo.mechanisms import Delay, Hidden, Inline
from configs.demo.rollout import CONFIG, TICK_NS, Mechanism, Result, run
from drivers.emulated.belt import CUBES
from runtime.cli.overrides import parse_overrides
from runtime.config.config import Config
from runtime.config.load import load
from runtime.policy.worker import backends
from runtime.policy.worker.wire import Can
from tests.bench.latency.peers.process import interpreter, peer_process
from tests.bench.latency.steps import LerobotAverage, LerobotQueue, OpenpiBroker, WaitForChunk

EXECUTE = 12
"""Actions between two inferences, for everybody."""
JITTER = 0.2
"""A latency is anywhere within this part of its mean."""

FLOW = (
    'policy.backend="flow"',
    'policy.model="demo/flow.onnx"',
    f"policy.action=[{{ offset = {OFFSET.tolist()}, scale = {SCALE.tolist()} }}]",
)
"""What docs/flow.md changes in the demo's config."""


class Kind(NamedTuple):
    """A row of the table."""

    make: Callable[..., Mechanism]
    peer: str | None = None
    """Whose packages it needs."""
    flow: bool = False
    """With the demo's flow policy, which can continue a plan, instead of the other one."""


KINDS = {
    "inline": Kind(Inline),
    "wait for chunk": Kind(WaitForChunk),
    "openpi ActionChunkBroker": Kind(OpenpiBroker, "openpi"),
    "LeRobot ActionQueue": Kind(LerobotQueue, "lerobot"),
    "LeRobot weighted average": Kind(LerobotAverage, "lerobot"),
    "replace": Kind(partial(Hidden, seam="replace")),
    "ensemble": Kind(partial(Hidden, seam="ensemble")),
    "blend": Kind(partial(Hidden, seam="blend")),
    "blend, observed at arrival": Kind(partial(Hidden, seam="blend", observe="arrival")),
    "replace, flow policy": Kind(partial(Hidden, seam="replace"), flow=True),
    "blend, flow policy": Kind(partial(Hidden, seam="blend"), flow=True),
    "prefix, flow policy": Kind(partial(Hidden, seam="prefix"), flow=True),
}


@dataclass(frozen=True)
class Run:
    """One run of ten cubes."""

    kind: str
    latency: float
    """Mean, s."""
    seed: int


@dataclass(frozen=True)
class Measured:
    """What one run gave."""

    kind: str
    latency: float
    seed: int
    in_bin: int
    seconds: float
    starved: int
    disagreement: float | None
    """Median of how far a chunk was from the plan in force as it came, rad; None where it is never known."""
    seam_median: float
    """Of what was left of it, rad."""
    seam_max: float
    jerk_rms: float
    """Of the six arm joints' true motion, rad/s³."""
    jerk_max: float


class Model:
    """A config's policy, run by its backend."""

    def __init__(self, config: Config) -> None:
        policy = config.policy
        assert policy is not None
        self._shape = policy.horizon, len(config.joints)
        given = {"threads": 1, "horizon": self._shape[0], "action_size": self._shape[1]}
        given |= {"timeout": policy.timeout, "period": 1 / policy.rate}
        self._backend = backends.load(policy.backend, str(policy.model), {**policy.options, **given})
        if backends.abilities(self._backend) & Can.CONTINUE:
            self.continue_plan = self._continue_plan

    def __call__(self, observation: Array) -> Array:
        return self._floats(self._backend.infer(observation.astype(np.float32)))

    def _continue_plan(self, observation: Any, plan: Any, delay: int) -> Array:
        return self._floats(self._backend.continue_plan(observation, plan, delay))

    def _floats(self, output: Any) -> Array:
        return backends.normalise(output, *self._shape).astype(np.float64)


def available(kind: str) -> bool:
    """Whether what it needs is installed."""
    peer = KINDS[kind].peer
    return peer is None or interpreter(peer).exists()


def delays(latency: float, seed: int) -> Delay:
    """How long each inference takes: the same for every kind."""
    rng = np.random.default_rng([seed, round(1e3 * latency)])
    return lambda: round(1e9 * latency * rng.uniform(1 - JITTER, 1 + JITTER))


def measure(job: Run) -> Measured:
    """Run it. A cube that never came is not in the bin."""
    kind = KINDS[job.kind]
    config = load(CONFIG, overrides=parse_overrides(FLOW) if kind.flow else ())
    more: dict[str, Any] = (
        {"peer": peer_process(kind.peer)} if kind.peer else {"config": config} if kind.flow else {}
    )
    mechanism = kind.make(Model(config), delays(job.latency, job.seed), EXECUTE, **more)
    result = run(mechanism, job.seed)
    return Measured(**asdict(job), **_figures(result))


def _figures(result: Result) -> dict[str, Any]:
    speeds = np.array(result.velocities)[:, :6]
    jerk = np.diff(speeds, 2, axis=0) / (TICK_NS / 1e9) ** 2
    seams, came = result.seams or [0.0], result.disagreements
    return {
        "in_bin": result.in_bin,
        "seconds": round(result.seconds, 2),
        "starved": result.starved,
        "disagreement": round(float(np.median(came)), 5) if came else None,
        "seam_median": round(float(np.median(seams)), 5),
        "seam_max": round(float(np.max(seams)), 5),
        "jerk_rms": round(float(np.sqrt(np.mean(jerk**2))), 2),
        "jerk_max": round(float(np.abs(jerk).max()), 1),
    }


def measure_all(jobs: list[Run], workers: int) -> Iterator[Measured]:
    """Run them in so many processes, in order."""
    if workers <= 1:
        yield from map(measure, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(measure, jobs)


def summary(runs: list[Measured]) -> dict[str, Any]:
    """One cell from its runs, with 95 % intervals."""
    cubes, good = CUBES * len(runs), sum(run.in_bin for run in runs)
    low, high = wilson(good, cubes)
    mean, spread = _mean([run.seconds for run in runs])
    return {
        "kind": runs[0].kind,
        "latency_ms": round(1e3 * runs[0].latency),
        "runs": len(runs),
        "success": round(good / cubes, 4),
        "success_95": [round(low, 4), round(high, 4)],
        "seconds": round(mean, 1),
        "seconds_95": round(spread, 1),
        "starved": round(float(np.mean([run.starved for run in runs])), 1),
        "disagreement": _median([run.disagreement for run in runs]),
        "seam_median": _median([run.seam_median for run in runs]),
        "seam_max": round(max(run.seam_max for run in runs), 4),
        "jerk_rms": round(float(np.mean([run.jerk_rms for run in runs])), 1),
        "jerk_max": round(max(run.jerk_max for run in runs)),
    }


def _median(values: list[Any]) -> float | None:
    return None if None in values else round(float(np.median(values)), 4)


def wilson(good: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    z, p = 1.96, good / of
    middle, half = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return max((middle - half) / (1 + z * z / of), 0.0), min((middle + half) / (1 + z * z / of), 1.0)


def _mean(values: list[float]) -> tuple[float, float]:
    """Mean, and half the width of its 95 % interval."""
    half = 1.96 * float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)), half
