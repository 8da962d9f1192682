"""An interlock on a bench, for the tests of everything that it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from safety.action import Action
from safety.beat import Heartbeat, LoopState
from safety.gate import Gate
from safety.interlock import Interlock

MS = 1_000_000
STALL_MS = 20
TIMEOUT_MS = 1000


class Bench:
    """An interlock with everything that it talks to, and the time in the test's hand."""

    def __init__(
        self, line: Callable[..., Any], events: Any, estop: bool = True, drive: bool = True, **options: Any
    ) -> None:
        self.estop = line(True) if estop else None
        self.drive = line() if drive else None
        self.gate = Gate()
        self.heartbeat = Heartbeat()
        self.events = events
        self.order: list[str] = []
        self.problems: list[str] = []
        self.now = 1000 * MS
        self.interlock = Interlock(
            self.estop,
            self.drive,
            self._cut,
            self.gate,
            self.heartbeat,
            STALL_MS / 1e3,
            TIMEOUT_MS / 1e3,
            events,
            lambda: self.now,
            **options,
        )

    def _cut(self) -> list[str]:
        off = self.drive is None or not self.drive.level
        self.order.append(f"torque off, gate {'open' if self.gate.is_open else 'closed'}, drive off {off}")
        return self.problems

    def beat(self, state: int = 0) -> None:
        self.heartbeat.beat(0, self.now, state)

    def step(self, ms: float = 0, beat: int | None = 0) -> Action:
        self.now += round(ms * MS)
        if beat is not None:
            self.beat(beat)
        return self.interlock.step(self.now).action

    def run(self, ms: float, beat: int = LoopState.ENERGISED) -> list[Action]:
        return [self.step(5, beat) for _ in range(int(ms / 5))]

    def armed(self) -> Bench:
        self.beat()
        assert self.interlock.arm(self.now) == []
        assert self.gate.open()
        self.beat(LoopState.ENERGISED)
        return self

    @property
    def powered(self) -> bool:
        return self.gate.is_open or self.interlock.drive_enabled or bool(self.drive and self.drive.level)

    def arm(self) -> list[str]:
        return self.interlock.arm(self.now)

    def reset(self) -> list[str]:
        return self.interlock.reset(self.now)
