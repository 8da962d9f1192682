"""The reset button on a line that is one end of a socket pair."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from runtime.events import Events
from runtime.link.errors import Refused
from runtime.reset_button import ResetButton
from tests.lines import WiredInput


class Bench:
    def __init__(self, level: bool = False) -> None:
        self.line, self.events, self.resets = WiredInput(level), Events(), 0
        self.refusal: Refused | None = None
        self.button = ResetButton(self.line, self.reset, self.events)

    async def reset(self) -> None:
        self.resets += 1
        if self.refusal is not None:
            raise self.refusal

    async def put(self, pressed: bool) -> None:
        self.line.wire.send(b"\x01" if pressed else b"\x00")
        await asyncio.sleep(0.01)

    async def press(self) -> None:
        await self.put(True)
        await self.put(False)


@pytest.fixture
async def bench() -> Bench:
    return Bench()


async def test_it_resets_once_each_time_that_it_is_let_go(bench: Bench) -> None:
    bench.button.start()
    await bench.put(True)
    assert bench.resets == 0
    await bench.put(False)
    assert bench.resets == 1
    await bench.press()
    assert bench.resets == 2
    bench.button.close()


async def test_one_that_was_pressed_at_the_start_has_to_be_pressed_again() -> None:
    bench = Bench(level=True)
    bench.button.start()
    await bench.put(False)
    assert bench.resets == 0
    await bench.press()
    assert bench.resets == 1
    bench.button.close()


async def test_a_refusal_is_told_with_its_reasons(bench: Bench) -> None:
    bench.refusal = Refused("not_safe", "the cause still stands", ["the e-stop is pressed"])
    bench.button.start()
    await bench.press()
    [event] = [event for event in bench.events.recent if event.name == "reset_button.refused"]
    assert event.message == "the reset button: the cause still stands; the e-stop is pressed"
    bench.button.close()


async def test_a_line_that_is_gone_resets_nothing_and_comes_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0]
    monkeypatch.setattr("runtime.reset_button.time.monotonic_ns", lambda: clock[0])
    bench.button.start()
    await bench.put(True)
    bench.line.chip_is_gone = True
    bench.line.wire.close()
    await asyncio.sleep(0.01)
    assert bench.resets == 0
    steps: list[Callable[[], None]] = [bench.button.look_after] * 3
    for step in steps:
        step()
        clock[0] += 1_100_000_000
    assert [event.name for event in bench.events.recent] == ["safety.line_lost"]
    bench.line.chip_is_gone = False
    bench.button.look_after()
    assert "safety.line_back" in [event.name for event in bench.events.recent]
    await bench.put(False)
    assert bench.resets == 0, "it was not seen pressed since"
    await bench.press()
    assert bench.resets == 1
    bench.button.close()
