from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from runtime.events import Event, Events
from runtime.policy.chunk import Chunk
from runtime.policy.client import PolicyWorker
from runtime.policy.spec import WorkerSpec
from runtime.policy.worker.curve import Curve
from runtime.policy.worker.remote.base import Link

HERE = Path(__file__).parent
PATIENCE_S = 20.0


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The daemon runs on uvloop, so do these tests."""
    return {"uvloop": uvloop.new_event_loop}


CURVE = Curve([3, 0, 1], [0.0, 1.0, 0.0], [1.0, 2.0, 1.0], [False, False, False, True])
"""Of four joints three are moved, and one of those holds."""


class Rig:
    """A policy worker and everything that it said and delivered."""

    def __init__(self, **overrides: Any) -> None:
        defaults: dict[str, Any] = {
            "backend": "model_zoo:Moody",
            "observation_size": 5,
            "horizon": 4,
            "period_s": 0.02,
            "action_size": 3,
            "timeout_s": 10.0,
            "max_age_s": 10.0,
            "paths": (str(HERE),),
        }
        if "action_size" not in overrides:
            defaults["curve"] = CURVE.settings
        self.offset_ns = 0
        self.events = Events()
        self.chunks: list[Chunk] = []
        self.later: list[Callable[[], None]] | None = None
        """Where a list, what the worker would do between ticks is put here and left undone."""
        self.worker = PolicyWorker(
            WorkerSpec(**(defaults | overrides)),
            self.events,
            self.chunks.append,
            lambda work: work() if self.later is None else self.later.append(work),
            lambda: self.now(),
        )

    def now(self) -> int:
        return time.monotonic_ns() + self.offset_ns

    async def until(self, condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + patience_s
        while not condition():
            assert time.monotonic() < deadline, f"waited {patience_s} s for {what}; {list(self.events.recent)}"
            await asyncio.sleep(0.005)

    def ask(self, mood: float = 0.0) -> int:
        """Ask for a chunk now; returns t0."""
        self.worker.observation[:] = 0.0
        self.worker.observation[0] = mood
        t0_ns = self.now()
        assert self.worker.request(t0_ns)
        return t0_ns

    async def chunk(self, mood: float = 0.0) -> Chunk:
        count = len(self.chunks)
        self.ask(mood)
        await self.until(lambda: len(self.chunks) > count, "a chunk")
        return self.chunks[-1]

    async def failure(self, name: str, patience_s: float = PATIENCE_S) -> Event:
        await self.until(lambda: self.events.counts[f"policy.{name}"], f"policy.{name}", patience_s)
        return next(event for event in self.events.recent if event.name == f"policy.{name}")

    async def recovery(self) -> Chunk:
        """The run goes on: the worker comes back and answers."""
        await self.until(lambda: self.worker.ready, "the restart")
        return await self.chunk()


def descriptors() -> Counter[str]:
    """Our open descriptors by kind; uvloop opens a socket pair of its own in every run, so numbers differ."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}").partition(":[")[0]] += 1
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return found


def children() -> set[str]:
    """Our processes, zombies included."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            stat = entry.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
            found.add(stat)
    return {stat.split()[0] for stat in found}


@pytest.fixture(autouse=True)
def no_link_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No connection to a policy server outlives its test: it would go on to look for a server, and find others."""
    links: list[Link] = []
    begin = Link.__init__

    def begin_and_note(self: Link, *arguments: Any, **more: Any) -> None:
        begin(self, *arguments, **more)
        links.append(self)

    monkeypatch.setattr(Link, "__init__", begin_and_note)
    yield
    for link in links:
        link.close()
    for link in links:
        link._thread.join(PATIENCE_S)
        assert not link._thread.is_alive()


@pytest.fixture
async def rig() -> AsyncIterator[Callable[..., Rig]]:
    """Makes rigs. After each test nothing may be left of them: no process, no descriptor, no thread."""
    files, processes = descriptors(), children()
    rigs: list[Rig] = []

    def make(**overrides: Any) -> Rig:
        rigs.append(Rig(**overrides))
        return rigs[-1]

    yield make
    for each in rigs:
        await each.worker.close()
    assert children() <= processes
    deadline = time.monotonic() + PATIENCE_S  # a server of the test has connections of its own to close
    while not descriptors() <= files and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert descriptors() <= files


@pytest.fixture
def zoo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The models, importable here as they are in the worker."""
    monkeypatch.syspath_prepend(str(HERE))
    import model_zoo

    yield model_zoo
    sys.modules.pop("model_zoo", None)
