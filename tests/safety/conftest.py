from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from drivers.errors import LineError
from drivers.joint import Joint
from safety.errors import WatchdogError
from tests.interlock_bench import Bench
from tests.lines import WiredInput
from tests.supervisor_bench import build, busy

__all__ = ["build", "busy"]


@pytest.fixture(scope="session")
def make_joint() -> Callable[..., Joint]:
    def make(name: str = "elbow", **changes: float) -> Joint:
        settings = {"position_min": -2.0, "position_max": 2.0, "velocity_max": 3.0, "acceleration_max": 20.0}
        return Joint(name=name, bus="left", id=1, model="XM430-W350", **(settings | changes))

    return make


class Line:
    """An input and output line without a wire.

    `broken` makes it fail as a line that is gone, `stuck` as an output that cannot be driven.
    """

    def __init__(self, level: bool = False) -> None:
        self.level = level
        self.broken = False
        self.stuck = False
        self.closed = False
        self.tries = 0
        self.history: list[bool] = []

    def fileno(self) -> int:
        return -1

    def read(self) -> bool:
        if self.broken:
            raise LineError("the wire is cut")
        return self.level

    def set(self, active: bool) -> None:
        self.history.append(active)
        if self.broken or self.stuck:
            raise LineError("the wire is cut")
        self.level = active

    def check(self) -> None:
        self.read()

    def reopen(self) -> None:
        self.tries += 1
        if self.broken:
            raise LineError("there is no such chip")
        self.closed = False

    def close(self) -> None:
        self.closed = True


class FakeWatchdog:
    """A watchdog that notes what is done to it."""

    def __init__(self, timeout_s: float = 0.02, name: str = "a watchdog") -> None:
        self.name, self.timeout_s = name, timeout_s
        self.refusal = ""
        self.failure: OSError | None = None
        self.fed: list[float] = []
        self.calls: list[str] = []

    def open(self) -> tuple[str, str]:
        self.calls.append("open")
        if self.refusal:
            raise WatchdogError(self.refusal)
        return f"{self.name} is armed", "info"

    def feed(self) -> None:
        if self.failure:
            raise self.failure
        self.fed.append(time.monotonic())

    def close(self, clean: bool) -> tuple[str, str]:
        self.calls.append("disarm" if clean else "leave")
        return f"{self.name} is closed", "info"


class EventLog(list[tuple[str, str, str, dict[str, Any]]]):
    """Events as the supervisor hands them out."""

    def __call__(self, name: str, message: str, level: str, fields: dict[str, Any]) -> None:
        self.append((name, message, level, fields))

    def named(self, name: str) -> list[dict[str, Any]]:
        return [fields for found, _, _, fields in self if found == name]

    @property
    def names(self) -> list[str]:
        return [name for name, *_ in self]


@pytest.fixture
def line() -> type[Line]:
    return Line


@pytest.fixture
def fake_watchdog() -> type[FakeWatchdog]:
    return FakeWatchdog


@pytest.fixture
def wired_input() -> Iterator[Callable[[], WiredInput]]:
    made: list[WiredInput] = []

    def make() -> WiredInput:
        made.append(WiredInput())
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def events() -> EventLog:
    return EventLog()


@pytest.fixture
def wait_until() -> Callable[..., None]:
    """Wait for a condition, but not for ever: these are real threads on a busy machine."""

    def wait(condition: Callable[[], object], seconds: float = 10.0) -> None:
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while not condition():
            assert time.monotonic() < deadline, "waited too long"
            pause.wait(0.001)

    return wait


@pytest.fixture
def bench(line: Any, events: Any) -> Bench:
    """An interlock under a clock of its own."""
    return Bench(line, events)
