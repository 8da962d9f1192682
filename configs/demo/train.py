"""Train the demo's policy: clone the scripted expert, let the clone drive, have the expert correct it (DAgger).

    python -m configs.demo.train --out configs/demo/policy.onnx     (ten minutes on two cores)
    python -m configs.demo.train --evaluate configs/demo/policy.onnx

Needs the extras `sim` and `train`; run from the repository's root. The policy is a small action-chunking
transformer in the manner of ACT: one forward pass gives the joint goals of the next second, 50 actions at 50 Hz.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from configs.demo import expert
from configs.demo.expert import HORIZON, OBSERVATION, REST, Array
from configs.demo.mechanisms import Timing
from configs.demo.rollout import Policy, Result, run


def load(path: str | None) -> Policy:
    """The policy as a function of one observation (28,)."""
    if path is None:
        return lambda observation: expert.plan(observation[None])[0]
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def infer(observation: Array) -> Array:
        return session.run(None, {"observation": observation[None].astype(np.float32)})[0][0].astype(np.float64)

    return infer


@dataclass(frozen=True)
class Job:
    """One run in a worker process. `policy`: what `load` reads, an ONNX file, or None for the expert."""

    policy: str | None
    timing: Timing
    seed: int
    start: tuple[float, ...] | None = None
    keep_every: int = 0
    disturb: bool = False
    limit: float = 120.0
    load: Callable[[str | None], Policy] = load


def work(job: Job) -> Result:
    """Run one job."""
    disturb = np.random.default_rng(job.seed + 1) if job.disturb else None
    return run(
        job.timing.mechanism(job.load(job.policy), disturb),
        job.seed,
        start=None if job.start is None else np.array(job.start),
        keep_every=job.keep_every,
        disturb=disturb,
        limit=job.limit,
    )


def play(jobs: list[Job], workers: int) -> Iterator[Result]:
    """Run jobs in `workers` processes, in order."""
    if workers <= 1:
        yield from map(work, jobs)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        yield from pool.map(work, jobs)


def somewhere(rng: np.random.Generator) -> tuple[float, ...]:
    """A safe first pose: near the rest pose, or the hand somewhere above belt and bin."""
    if rng.random() < 0.4:
        return tuple(REST + rng.normal(0, [0.2, 0.02, 0.02, 0.02, 0.1, 0.2, 0.1]))
    hand = np.array([[rng.uniform(0.2, 0.42), rng.uniform(-0.3, 0.25), rng.uniform(0.14, 0.3)]])
    arm = expert.inverse(hand)[0] + rng.normal(0, 0.05, 6)
    return (*arm, rng.uniform(0.7, 1.5))


def visit(
    policy: str | None, runs: int, seed: int, workers: int, load: Callable[[str | None], Policy] = load
) -> Array:
    """Observations (N, 28) from disturbed runs with all kinds of timing."""
    rng = np.random.default_rng(seed)
    jobs = []
    for i in range(runs):
        inline = rng.random() < 0.08
        timing = Timing(
            latency=float(rng.choice([0.0, 0.05, 0.1, 0.2, 0.2, 0.2, 0.25])),
            execute=int(rng.choice([25, 50]) if inline else rng.choice([5, 10, 12, 12, 15, 20])),
            inline=bool(inline),
        )
        start = somewhere(rng) if rng.random() < 0.6 else None
        jobs.append(Job(policy, timing, seed + i, start, 3, bool(rng.random() < 0.5), 45.0, load))
    results = list(play(jobs, workers))
    done = [r.in_bin / max(r.spawned, 1) for r in results]
    who = Path(policy).name if policy else "the expert"
    print(f"  {who} drove {runs} disturbed runs: {np.mean(done):.0%} in the bin", flush=True)
    return np.concatenate([np.array(r.observations) for r in results])


def shake(observations: Array, rng: np.random.Generator) -> Array:
    """States next to visited ones: robot, plan and cube a little elsewhere."""
    o = observations.copy()
    n = len(o)
    present = o[:, 27] > 0.5
    size = rng.choice([0.2, 1.0], (n, 1))
    move = rng.normal(0, 0.03, (n, 7)) * size
    move[:, 3] *= 0.3
    o[:, :7] += move
    known = np.any(np.abs(o[:, 14:21]) > 1e-6, axis=1)
    o[known, 14:21] += (move + rng.normal(0, 0.01, (n, 7)) * size)[known]
    o[:, 7:14] += rng.normal(0, 0.15, (n, 7)) * size
    free = present & (np.linalg.norm(o[:, 21:24] - expert.forward(o[:, :7]), axis=1) > 0.03)
    o[free, 21] += (rng.normal(0, 0.012, n) * size[:, 0])[free]
    o[free, 22] += (rng.normal(0, 0.03, n) * size[:, 0])[free]
    on_belt = free & (np.abs(o[:, 23] - 0.098) < 0.01)
    o[on_belt, 25] = np.clip(o[on_belt, 25] + rng.normal(0, 0.012, int(on_belt.sum())), -0.16, -0.08)
    forget = rng.random(n) < 0.02
    o[forget, 14:21] = 0.0
    return o


def label(observations: Array) -> np.ndarray:
    """The expert's chunks (N, 50, 7), float32."""
    parts = np.array_split(observations, len(observations) // 4000 + 1)
    return np.concatenate([expert.plan(part).astype(np.float32) for part in parts])


def evaluate(path: str | None, runs: int, workers: int) -> None:
    """Print the share of cubes in the bin, ten cubes a run, for each way to run the policy."""
    print(f"{'scheme':38s} {'cubes':>6s} {'in bin':>7s} {'worst run':>10s} {'seam rad':>9s} {'s/run':>6s}")
    for name, timing in {
        "latency hidden, 200 ms, every 12": Timing(0.2, 12),
        "latency hidden, 200 ms, every 15": Timing(0.2, 15),
        "no latency, every 12": Timing(0.0, 12),
        "inline, 200 ms, every 12": Timing(0.2, 12, inline=True),
        "inline, 200 ms, every 25": Timing(0.2, 25, inline=True),
        "inline, 200 ms, every 50": Timing(0.2, 50, inline=True),
    }.items():
        results = list(play([Job(path, timing, seed) for seed in range(runs)], workers))
        cubes = sum(r.spawned for r in results)
        good = sum(r.in_bin for r in results)
        print(
            f"{name:38s} {cubes:6d} {good / max(cubes, 1):7.1%} {min(r.in_bin for r in results):10d} "
            f"{max(max(r.seams, default=0.0) for r in results):9.3f} {np.mean([r.seconds for r in results]):6.1f}",
            flush=True,
        )


def train(out: Path, rounds: int, runs: int, workers: int, steps: int, seed: int, work_dir: Path) -> None:
    """Expert data, then `rounds` of cloning and correcting; half of the `steps` of descent come at the end."""
    import torch

    from configs.demo.network import Cloner

    # The matrices are small: a second thread costs more in waiting than it brings.
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    work_dir.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    cloner = Cloner(seed=seed)
    inputs, targets = np.empty((0, OBSERVATION), np.float32), np.empty((0, HORIZON, 7), np.float32)
    path: Path | None = None
    for number in range(rounds):
        last = number == rounds - 1
        seen = visit(None if path is None else str(path), runs, seed + 1000 * number, workers)
        more = np.concatenate((seen, shake(seen, rng), shake(seen, rng)))
        inputs = np.concatenate((inputs, more.astype(np.float32)))
        targets = np.concatenate((targets, label(more)))
        print(f"round {number}: {len(inputs)} states, {time.monotonic() - begin:.0f} s", flush=True)
        cloner.fit(
            inputs,
            targets,
            steps // 2 if last else steps // 2 // (rounds - 1),
            (1e-3, 1e-5) if last else (1e-3, 1e-3),
        )
        path = out if last else work_dir / f"round_{number}.onnx"
        cloner.export(path)
    print(f"done in {time.monotonic() - begin:.0f} s: {out}, {out.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("policy.onnx"))
    parser.add_argument("--evaluate", metavar="ONNX", help="evaluate this file ('expert' for the expert)")
    parser.add_argument("--runs", type=int, default=10, help="runs of ten cubes per scheme")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--visits", type=int, default=16, help="runs that gather states in each round")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=9000, help="steps of gradient descent")
    parser.add_argument("--seed", type=int, default=20_000, help="evaluation uses seeds from 0 on")
    parser.add_argument("--work", type=Path, default=Path(".demo/train"))
    arguments = parser.parse_args()
    if arguments.evaluate:
        path = None if arguments.evaluate == "expert" else arguments.evaluate
        evaluate(path, arguments.runs, arguments.workers)
    else:
        a = arguments
        train(a.out, a.rounds, a.visits, a.workers, a.steps, a.seed, a.work)


if __name__ == "__main__":
    main()
