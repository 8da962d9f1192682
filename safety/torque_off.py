"""Torque off on all buses at once: one that hangs or raises keeps no other from being switched off."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue

from safety.scheduling import run_as_fifo

_Answers = SimpleQueue[tuple[int, str]]


class TorqueOff:
    """A waiting thread for each of the calls, because a stop is no moment to start threads."""

    def __init__(self, calls: Sequence[Callable[[], None]], priority: int) -> None:
        """`calls`: what switches torque off, one for each bus. `priority`: SCHED_FIFO priority of the threads."""
        self._calls = tuple(calls)
        self._priority = priority
        self._orders: list[SimpleQueue[_Answers | None]] = [SimpleQueue() for _ in self._calls]
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads. Raises RuntimeError when the system has none to give."""
        for number, call in enumerate(self._calls):
            thread = threading.Thread(
                target=self._serve, args=(number, call), name=f"torque-off-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def fire(self, timeout_s: float) -> list[str]:
        """Make all calls; wait for them up to `timeout_s`. Returns what went wrong, empty when all is well."""
        answers: _Answers = SimpleQueue()
        for orders in self._orders:
            orders.put(answers)
        problems = dict.fromkeys(range(len(self._calls)), f"has not returned within {timeout_s * 1e3:g} ms")
        deadline = time.monotonic() + timeout_s
        for _ in self._calls:
            try:
                number, problem = answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                break
            problems[number] = problem
        return [f"{_name(self._calls[number])} {problem}" for number, problem in problems.items() if problem]

    def stop(self, timeout_s: float) -> None:
        """End the threads; one that hangs in its call is left behind."""
        for orders in self._orders:
            orders.put(None)
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _serve(self, number: int, call: Callable[[], None]) -> None:
        run_as_fifo(self._priority)
        while (answers := self._orders[number].get()) is not None:
            problem = ""
            try:
                call()
            except Exception as error:
                problem = f"raised {type(error).__name__}: {error}"
            answers.put((number, problem))


def _name(call: Callable[[], None]) -> str:
    owner = getattr(getattr(call, "__self__", None), "name", None)
    return f"torque-off of {owner}" if owner else getattr(call, "__qualname__", repr(call))
