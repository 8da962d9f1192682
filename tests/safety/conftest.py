from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from drivers.errors import LineError
from drivers.joint import Joint


@pytest.fixture(scope="session")
def make_joint() -> Callable[..., Joint]:
    def make(name: str = "elbow", **changes: float) -> Joint:
        settings = {"position_min": -2.0, "position_max": 2.0, "velocity_max": 3.0, "acceleration_max": 20.0}
        return Joint(name=name, bus="left", id=1, model="XM430-W350", **(settings | changes))

    return make


class Line:
    """An input and output line without a wire; `broken` makes it fail as a line that is gone."""

    def __init__(self, level: bool = False) -> None:
        self.level = level
        self.broken = False
        self.closed = False
        self.history: list[bool] = []

    def fileno(self) -> int:
        return -1

    def read(self) -> bool:
        if self.broken:
            raise LineError("the wire is cut")
        return self.level

    def set(self, active: bool) -> None:
        self.history.append(active)
        if self.broken:
            raise LineError("the wire is cut")
        self.level = active

    def close(self) -> None:
        self.level = False
        self.closed = True


class WiredInput:
    """An input line on one end of a socket pair; the test holds `wire`, the other end."""

    def __init__(self, level: bool = True) -> None:
        self.wire, self._socket = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._level = level
        self.closed = False

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> bool:
        while True:
            try:
                message = self._socket.recv(16)
            except BlockingIOError:
                return self._level
            if not message:
                raise LineError("the wire is cut")
            self._level = message == b"\x01"

    def close(self) -> None:
        self._socket.close()
        self.wire.close()
        self.closed = True


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
