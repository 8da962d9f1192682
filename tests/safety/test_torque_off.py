from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import SimpleQueue
from typing import Any

import pytest

from safety.torque_off import TorqueOff


class Motors:
    """A bus as far as torque-off goes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls = 0

    def torque_off(self) -> None:
        self.calls += 1

    def refuse(self) -> None:
        raise OSError("no buffer space")


@pytest.fixture
def start() -> Iterator[Callable[..., TorqueOff]]:
    made: list[TorqueOff] = []

    def make(*calls: Callable[[], None], priority: int = 0) -> TorqueOff:
        made.append(TorqueOff(calls, priority))
        made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.stop(10.0)


def test_all_calls_are_made_again_and_again(start: Callable[..., TorqueOff]) -> None:
    buses = [Motors("left"), Motors("right")]
    torque_off = start(*(bus.torque_off for bus in buses))
    for count in (1, 2, 3):
        assert torque_off.fire(10.0) == []
        assert [bus.calls for bus in buses] == [count, count]


def test_one_that_raises_and_one_that_hangs_stop_no_other(start: Callable[..., TorqueOff]) -> None:
    good, bad, let_go = Motors("left"), Motors("right"), threading.Event()
    torque_off = start(bad.refuse, let_go.wait, good.torque_off)
    try:
        problems = torque_off.fire(0.2)
        assert good.calls == 1
        assert problems[0] == "torque-off of right raised OSError: no buffer space"
        assert problems[1].endswith("has not returned within 200 ms")
        assert len(problems) == 2
        assert len(torque_off.fire(0.2)) == 2
        assert good.calls == 2
    finally:
        let_go.set()


def test_its_threads_have_the_priority_asked_for_or_go_without(start: Callable[..., TorqueOff]) -> None:
    found: list[int] = []
    torque_off = start(lambda: found.append(os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK), priority=40)
    assert torque_off.fire(10.0) == []
    assert found[0] in (os.SCHED_FIFO, os.SCHED_OTHER)


def test_what_went_wrong_names_the_bus_or_the_call(start: Callable[..., TorqueOff]) -> None:
    def refuse() -> None:
        raise OSError("no buffer space")

    [problem] = start(refuse).fire(10.0)
    assert problem == f"{refuse.__qualname__} raised OSError: no buffer space"
    [problem] = start(partial(Motors("left").refuse)).fire(10.0)
    assert problem.startswith("functools.partial(")
    never = threading.Event()
    try:
        [problem] = start(never.wait).fire(0.05)
        assert problem == "Event.wait has not returned within 50 ms"
    finally:
        never.set()


def test_calls_that_hang_are_waited_for_no_longer_than_allowed_all_together(
    start: Callable[..., TorqueOff], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    class Queue(SimpleQueue[Any]):
        """Notes how long somebody is willing to wait."""

        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            if timeout is not None:
                waited.append(timeout)
            return super().get(block, timeout)

    monkeypatch.setattr("safety.torque_off.SimpleQueue", Queue)
    never = threading.Event()
    try:
        torque_off = start(never.wait, never.wait)
        assert len(torque_off.fire(0.05)) == 2
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "join", lambda self, timeout=None: waited.append(timeout))
            torque_off.stop(0.05)
        assert len(waited) >= 3
        assert all(0.0 <= seconds <= 0.05 for seconds in waited)
    finally:
        never.set()


def test_its_threads_end_and_can_be_told_apart() -> None:
    torque_off = TorqueOff([Motors("left").torque_off, Motors("right").torque_off], 0)
    before = set(threading.enumerate())
    torque_off.start()
    threads = set(threading.enumerate()) - before
    assert {thread.name for thread in threads} == {"torque-off-0", "torque-off-1"}
    assert all(thread.daemon for thread in threads), "one that hangs must not keep the process"
    torque_off.stop(10.0)
    assert not any(thread.is_alive() for thread in threads)
