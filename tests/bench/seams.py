"""What a chunk costs the tick's thread, for each kind of seam: `python -m tests.bench.seams`.

A chunk of 50 actions for 14 joints is asked for from a real worker process, received and laid over the timeline.
Cold: 50 chunks a second, between which the process sleeps and others have the processor; as in the other
benchmarks as much memory as the caches hold is read before each step. Warm: 500 a second, and neither. The
reference is the least that any asynchronous policy needs: send a message, receive one, copy the chunk.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np

from drivers.state import JointState
from runtime.config.models import Realtime as Options
from runtime.control.histogram import Histogram
from runtime.control.realtime import Realtime
from runtime.control.seams.strategy import Name, strategy
from runtime.events import Events
from runtime.policy.chunk import Chunk
from runtime.policy.client import PolicyWorker
from runtime.policy.commands import Commands
from runtime.policy.planner import Planner
from runtime.policy.policy import Policy
from runtime.policy.scheduler import Scheduler
from runtime.policy.source import Observe, Source
from runtime.policy.spec import WorkerSpec
from runtime.policy.terms import ActionMap, ActionTerm, ObservationBuilder, ObservationTerm

HORIZON, JOINTS = 50, 14
EXECUTE = 2
"""So few that the plans of several chunks lie over each other."""
CHUNKS = 200
KINDS: tuple[tuple[Name, Observe], ...] = (
    ("replace", "now"),
    ("ensemble", "now"),
    ("blend", "now"),
    ("blend", "arrival"),
    ("prefix", "now"),
)
CACHE_BYTES = 4_000_000


def measure() -> list[dict[str, Any]]:
    """One row for each kind of seam: medians of the parts, and of all together p50 and p99, us, and the ratio."""
    with _real_time():
        return asyncio.run(_measure())


async def _measure() -> list[dict[str, Any]]:
    rows = []
    for seam, observe in KINDS:
        for cold in (False, True):
            bench = _Bench(seam, observe, cold)
            try:
                rows.append(await bench.run())
            finally:
                await bench.close()
    return rows


@contextmanager
def _real_time() -> Iterator[None]:
    """What the daemon does for its loop, as far as it is to be had."""
    options, realtime = Options(), Realtime()
    realtime.apply(options.priority, (), True, True, options.switch_interval, required=False)
    for item in realtime.items:
        if not item.achieved:
            print(f"measured without: {item.name}: {item.detail}", file=sys.stderr)
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        realtime.close()
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


class _Bench:
    def __init__(self, seam: Name, observe: Observe, cold: bool) -> None:
        self._name = f"{seam}, observing the arrival" if observe == "arrival" else seam
        self._cold = cold
        rate = EXECUTE * (50.0 if cold else 500.0)
        names = [f"j{i}" for i in range(JOINTS)]
        actions = ActionMap([ActionTerm()], names)
        terms = [ObservationTerm(source=source) for source in ("joint.position", "joint.velocity", "last_action")]
        observation = ObservationBuilder(terms, names, [], [], actions.size)
        self._state = JointState(JOINTS)
        self._state.measured[:] = 0.0
        spec = WorkerSpec(
            backend="tests.bench.walk:Walk",
            observation_size=observation.size,
            horizon=HORIZON,
            action_size=actions.size,
            curve=actions.curve.settings,
            period_s=1 / rate,
            paths=(str(Path(__file__).parents[2]),),
        )
        events = Events()
        self._worker = PolicyWorker(spec, events, self._on_chunk, self._receive)
        period_ns = round(1e9 / rate)
        source = Source(
            "policy",
            cast(Policy, self._worker),
            observation,
            actions,
            [],
            Scheduler(HORIZON, EXECUTE, period_ns),
            strategy(seam),
            events,
            observe=observe,
        )
        self._planner = Planner(source, Commands({}), events)
        self._costs = {name: Histogram() for name in ("ask", "receive", "all", "sample", "reference")}
        self._cache = np.zeros(CACHE_BYTES // 8)
        self._reply = np.zeros((HORIZON, 4, JOINTS))
        self._ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._received_ns = 0
        self._done = False

    async def run(self) -> dict[str, Any]:
        sleep_s = 0.001 if self._cold else 0.0
        await self._worker.start()
        goal = np.zeros(JOINTS)
        self._planner.start(goal, time.monotonic_ns())
        for _ in range(CHUNKS):
            while not self._planner.due(time.monotonic_ns()):
                await asyncio.sleep(sleep_s)
            self._done = False
            asked_ns = self._timed(lambda: self._planner.ask(time.monotonic_ns(), self._state))
            while not self._done:
                await asyncio.sleep(sleep_s)
            self._costs["ask"].add(asked_ns)
            self._costs["receive"].add(self._received_ns)
            self._costs["all"].add(asked_ns + self._received_ns)
            self._costs["reference"].add(self._timed(self._least))
            self._costs["sample"].add(self._timed(lambda: self._planner.sample(time.monotonic_ns(), goal)))
        return self._row()

    async def close(self) -> None:
        await self._worker.close()
        for end in self._ends:
            end.close()

    def _row(self) -> dict[str, Any]:
        told = {name: cost.summary_us() for name, cost in self._costs.items()}
        return {
            "seam": self._name,
            "caches": "cold" if self._cold else "warm",
            **{f"{name}_us": told[name]["p50"] for name in ("ask", "receive", "sample", "reference")},
            "p50": told["all"]["p50"],
            "p99": told["all"]["p99"],
            "ratio": round(told["all"]["p50"] / told["reference"]["p50"], 1),
        }

    def _receive(self, work: Callable[[], None]) -> None:
        self._received_ns = self._timed(work)
        self._done = True

    def _on_chunk(self, chunk: Chunk) -> None:
        self._planner.lay(chunk)

    def _timed(self, work: Callable[[], object]) -> int:
        if self._cold:
            self._cache.sum()
        began_ns = time.perf_counter_ns()
        work()
        return time.perf_counter_ns() - began_ns

    def _least(self) -> None:
        here, there = self._ends
        here.send(bytes(32))
        there.recv(64)
        self._reply.copy()


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        f"| {HORIZON} actions, {JOINTS} joints | caches | ask us | receive and merge us | together p50 / p99 us | "
        "times the reference | a sample us |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        "| {seam} | {caches} | {ask_us:.0f} | {receive_us:.0f} | {p50:.0f} / {p99:.0f} | {ratio} | "
        "{sample_us:.1f} |".format(**row)
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
