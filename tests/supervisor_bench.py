"""A supervisor with its thread, beside a control loop that does nothing but beat."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from safety.beat import Heartbeat, LoopState
from safety.gate import Gate
from safety.supervisor import Supervisor

TICK_S = 0.002
STALL_S = 2.0  # generous: a busy machine must not look like a stalled loop


class Loop:
    """A control loop that does nothing but beat; `blocked` makes it hang."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self.heartbeat = heartbeat
        self.state = 0
        self.blocked = False
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        heartbeat.beat(0, time.monotonic_ns(), 0)
        self._thread.start()

    def _run(self) -> None:
        tick = 0
        while not self._done.wait(0.005):
            tick += 1
            if not self.blocked:
                self.heartbeat.beat(tick, time.monotonic_ns(), self.state)

    def stop(self) -> None:
        self._done.set()
        self._thread.join()


@dataclass
class Robot:
    supervisor: Supervisor
    estop: Any
    drive: Any
    gate: Gate
    heartbeat: Heartbeat
    loop: Loop
    cuts: list[str]
    watchdog: Any

    @property
    def fed(self) -> list[float]:
        return list(self.watchdog.fed)

    def arm(self) -> None:
        assert self.supervisor.arm() == []
        assert self.gate.open()
        self.loop.state = LoopState.ENERGISED

    @property
    def powered(self) -> bool:
        return bool(self.drive.level or self.gate.is_open or self.supervisor.drive_enabled)


@pytest.fixture
def build(line: Any, wired_input: Any, fake_watchdog: Any, events: Any) -> Iterator[Callable[..., Robot]]:
    made: list[Robot] = []

    def make(*more: Callable[[], None], stall_s: float = STALL_S, start: bool = True, **options: Any) -> Robot:
        gate, heartbeat, estop, drive = Gate(), Heartbeat(), wired_input(), line()
        watchdog = fake_watchdog()
        cuts: list[str] = []
        supervisor = Supervisor(
            estop,
            drive,
            [*more, lambda: cuts.append("left"), lambda: cuts.append("right")],
            gate,
            heartbeat,
            stall_s,
            TICK_S,
            options.pop("priority", 0),
            events,
            watchdogs=[watchdog],
            **options,
        )
        if start:
            supervisor.start()
        made.append(Robot(supervisor, estop, drive, gate, heartbeat, Loop(heartbeat), cuts, watchdog))
        return made[-1]

    yield make
    for robot in made:
        robot.loop.stop()
        robot.supervisor.stop()
        assert not robot.supervisor.alive


@pytest.fixture
def busy() -> Callable[[Robot], AbstractContextManager[None]]:
    """The safety thread does something else while the block runs."""

    @contextmanager
    def keep_busy(robot: Robot) -> Iterator[None]:
        inside, let_go = threading.Event(), threading.Event()

        def wait(now_ns: int) -> list[str]:
            inside.set()
            let_go.wait(10)
            return []

        robot.supervisor._post(wait)
        assert inside.wait(10)
        try:
            yield
        finally:
            let_go.set()

    return keep_busy
