"""A child that is kept running, with real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import pytest

from runtime.child.keeper import ChildKeeper
from runtime.child.process import ChildProcess

PATIENCE_S = 30.0
LASTS = (sys.executable, "-c", "import time; print('here I am', flush=True); time.sleep(1000)")


class Bench:
    def __init__(self, arguments: Sequence[str], unfit: str = "") -> None:
        self.told: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
        self.lives: asyncio.Queue[ChildProcess] = asyncio.Queue()
        self._unfit = unfit
        self.keeper = ChildKeeper(
            lambda: arguments, lambda message: None, self._watch, self._on_failed, clock=lambda: 0
        )
        self.keeper.start()

    async def _watch(self, process: ChildProcess) -> str:
        self.lives.put_nowait(process)
        if not self._unfit:
            await asyncio.wait({process.exited})
        return self._unfit

    def _on_failed(self, cause: str, wait_s: float) -> None:
        self.told.put_nowait((cause, wait_s))

    async def failure(self) -> tuple[str, float]:
        return await asyncio.wait_for(self.told.get(), PATIENCE_S)

    async def life(self) -> ChildProcess:
        return await asyncio.wait_for(self.lives.get(), PATIENCE_S)


@pytest.mark.parametrize(
    ("program", "cause"),
    [
        (
            (sys.executable, "-c", "import sys; print('first'); sys.exit('no glue')"),
            "no glue; ended with exit code 1",
        ),
        (("/no/such/program",), "its process cannot start: "),
    ],
)
async def test_it_is_started_again_after_ever_longer_waits(program: Sequence[str], cause: str) -> None:
    b = Bench(program)
    try:
        told = [await b.failure() for _ in range(3)]
    finally:
        await b.keeper.close()
    assert [wait_s for _, wait_s in told] == [0.2, 0.4, 0.8]
    assert all(words.startswith(cause) for words, _ in told), told
    assert b.keeper.restarts == 2


async def test_one_that_is_unfit_is_ended_before_the_next_begins() -> None:
    b = Bench(LASTS, unfit="it is tired")
    try:
        first = await b.life()
        assert (await b.failure())[0] == "it is tired"
        assert first.exited.result() == "killed by signal 9 (SIGKILL)"
        assert (await b.life()).pid != first.pid
    finally:
        await b.keeper.close()


async def test_it_ends_with_its_keeper() -> None:
    b = Bench(LASTS)
    process = await b.life()
    assert b.keeper.pid == process.pid
    await b.keeper.close()
    assert b.keeper.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
    assert b.told.empty(), "an end that was asked for is no failure"
