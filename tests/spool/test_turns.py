from __future__ import annotations

import asyncio
from contextlib import suppress

from runtime.spool.upload.turns import Rank, Turns


class Visits:
    """Who has come in, and lets each of them stay until it is told to leave."""

    def __init__(self) -> None:
        self.turns = Turns(None)
        self.came: list[str] = []
        self._leave: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, rank: Rank) -> None:
        self._leave[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._visit(name, rank))
        await asyncio.sleep(0)

    async def _visit(self, name: str, rank: Rank) -> None:
        async with self.turns.turn(rank, 1):
            self.came.append(name)
            await self._leave[name].wait()

    async def end(self, name: str, cancel: bool = False) -> None:
        self._tasks[name].cancel() if cancel else self._leave[name].set()
        with suppress(asyncio.CancelledError):
            await self._tasks[name]
        await asyncio.sleep(0)


async def test_two_at_a_time_and_the_most_valuable_then_the_oldest_next() -> None:
    visits = Visits()
    for name, rank in {
        "bulk 1": (-1, "r-1"),
        "bulk 2": (-1, "r-2"),
        "bulk 4": (-1, "r-4"),
        "bulk 3": (-1, "r-3"),
        "safety": (-4, "r-5"),
    }.items():
        await visits.ask(name, rank)
    assert visits.came == ["bulk 1", "bulk 2"]
    for leaving, coming in {"bulk 2": "safety", "bulk 1": "bulk 3", "safety": "bulk 4"}.items():
        await visits.end(leaving)
        assert visits.came[-1] == coming


async def test_who_is_cancelled_leaves_its_turn_to_the_next() -> None:
    visits = Visits()
    for name in "abcd":
        await visits.ask(name, (0, name))
    await visits.end("c", cancel=True)  # while it waits
    await visits.end("a", cancel=True)  # while it goes
    assert visits.came == ["a", "b", "d"]
    await visits.ask("e", (0, "e"))
    assert visits.came == ["a", "b", "d"]
    await visits.end("b")
    assert visits.came == ["a", "b", "d", "e"]
