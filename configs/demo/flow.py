"""Train a flow-matching policy for the demo: an example of what the backend `flow` runs.

    python -m configs.demo.flow --out configs/demo/flow.onnx
    python -m configs.demo.flow --evaluate configs/demo/flow.onnx

Needs the extras `sim` and `train`; run from the repository's root. Expert and data are those of
`configs.demo.train`. The policy turns noise into a chunk in five steps, so it has many answers where the
observation leaves them open, and real-time chunking chooses one that continues what is being executed.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np

from configs.demo.expert import HORIZON, RATE, Array
from configs.demo.mechanisms import Timing
from configs.demo.rollout import Policy
from configs.demo.train import Job, label, play, shake, visit

# An action of the policy is (goal - OFFSET) / SCALE; the overrides in docs/flow.md say so, too.
OFFSET = np.array([0.0, 0.0, 0.4, 0.0, 1.0, 0.0, 1.2])
SCALE = np.array([0.4, 0.5, 0.4, 0.1, 0.3, 0.5, 0.3])
FORGET = 0.3
"""Share of the training states without the last action: what is planned is then open."""


class Chunks:
    """A policy file as `configs.demo.rollout` calls it: observation (28,) -> goals (50, 7), rad."""

    def __init__(self, path: str, remember: bool, delay: int | None, execute: int) -> None:
        """`remember`: it sees its last action. `delay`, `execute`, in actions: with a delay, every chunk continues
        the one before."""
        from runtime.policy.worker.flow import FlowBackend

        self._backend = FlowBackend(path, {"threads": 1, "horizon": HORIZON, "action_size": 7})
        self._remember, self._delay, self._execute = remember, delay, execute
        self._plan: np.ndarray | None = None

    def __call__(self, observation: Array) -> Array:
        seen = own(observation[None].astype(np.float32))[0]
        seen[14:21] *= self._remember
        if self._plan is None or self._delay is None:
            chunk = self._backend.infer(seen)[0]
        else:
            chunk = self._backend.continue_plan(seen, self._plan, self._delay)[0]
        self._plan = chunk[self._execute :]
        return OFFSET + SCALE * chunk.astype(np.float64)


def load(path: str | None, remember: bool = True, delay: int | None = None, execute: int = 12) -> Policy:
    """The policy in a file, see `Chunks`."""
    return Chunks(str(path), remember, delay, execute)


def own(observations: np.ndarray) -> np.ndarray:
    """Observations (N, 28) with the last action in the policy's own numbers; all zeros, which is none, stay."""
    o = observations.copy()
    known = np.any(np.abs(o[:, 14:21]) > 1e-6, axis=1)
    o[known, 14:21] = (o[known, 14:21] - OFFSET) / SCALE
    return o


def evaluate(path: str, runs: int, workers: int) -> None:
    """Print the share of cubes in the bin at 200 ms, ten cubes a run, with and without real-time chunking."""
    print(f"{'last action':12s} {'chunks':10s} {'cubes':>6s} {'in bin':>7s} {'worst run':>10s} {'seam rad':>9s}")
    timing = Timing(0.2, 12)
    for remember in (True, False):
        for delay in (None, round(timing.latency * RATE)):
            reader = partial(load, remember=remember, delay=delay, execute=timing.execute)
            results = list(play([Job(path, timing, seed, load=reader) for seed in range(runs)], workers))
            cubes = sum(r.spawned for r in results)
            good = sum(r.in_bin for r in results)
            print(
                f"{'seen' if remember else 'not seen':12s} {'alone' if delay is None else 'continued':10s} "
                f"{cubes:6d} {good / max(cubes, 1):7.1%} {min(r.in_bin for r in results):10d} "
                f"{np.mean([max(r.seams, default=0.0) for r in results]):9.3f}",
                flush=True,
            )


def train(out: Path, runs: int, workers: int, steps: int, seed: int) -> None:
    """A third of the descent on what the expert and the finished policy visit, the rest also on what it visits."""
    import torch

    from configs.demo.flow_network import Matcher

    # The matrices are small: a second thread costs more in waiting than it brings.
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    begin = time.monotonic()
    matcher = Matcher(seed)

    def learn(seen: Array, steps: int, rates: tuple[float, float]) -> None:
        states = np.concatenate((seen, shake(seen, rng), shake(seen, rng)))
        print(f"{len(states)} states, {time.monotonic() - begin:.0f} s", flush=True)
        matcher.fit(own(states.astype(np.float32)), label(states), steps, rates)
        matcher.export(out)

    finished = str(Path(__file__).with_name("policy.onnx"))
    seen = np.concatenate((visit(None, runs // 2, seed, workers), visit(finished, runs, seed + 1000, workers)))
    learn(seen, steps // 3, (1e-3, 1e-3))
    visits = visit(str(out), runs, seed + 2000, workers, load)
    blind = visit(str(out), runs // 2, seed + 3000, workers, partial(load, remember=False))
    learn(np.concatenate((seen, visits, blind)), 2 * steps // 3, (1e-3, 1e-5))
    print(f"done in {time.monotonic() - begin:.0f} s: {out}, {out.stat().st_size / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("flow.onnx"))
    parser.add_argument("--evaluate", metavar="ONNX", help="evaluate this file")
    parser.add_argument("--runs", type=int, default=10, help="runs of ten cubes per scheme")
    parser.add_argument("--visits", type=int, default=10, help="runs that gather states, of each policy")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5000, help="steps of gradient descent")
    parser.add_argument("--seed", type=int, default=40_000, help="evaluation uses seeds from 0 on")
    a = parser.parse_args()
    if a.evaluate:
        evaluate(a.evaluate, a.runs, a.workers)
    else:
        train(a.out, a.visits, a.workers, a.steps, a.seed)


if __name__ == "__main__":
    main()
