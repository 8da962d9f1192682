"""A line that was lost and may come back: closed at once, tried again at a bounded rate.

Nothing waits for it: what a lost line means for the robot was decided before anything here is done.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol

from drivers.errors import LineError

RETRY_S = 1.0
"""Time between two tries to have a lost line again."""
LINE_FAILURES = (LineError, OSError, ValueError)

Tell = Callable[[str, str, str], object]
"""Takes an event: name, message, level."""


class _Line(Protocol):
    def reopen(self) -> None: ...

    def close(self) -> None: ...


class Recovery:
    """Of one line. `lose` only notes the loss, `step` does the rest."""

    def __init__(self, name: str, line: _Line | None, prove: Callable[[], object], tell: Tell) -> None:
        """`name`: the line in words; `prove` uses the line that is open again, and raises when it is no good.

        `line`: None where the robot has no such line, which is never lost then.
        """
        self.problem = ""
        """Why the line is gone; empty while it is there."""
        self._name = name
        self._line = line
        self._prove = prove
        self._tell = tell
        self._next_ns: int | None = None

    def lose(self, error: Exception | str) -> None:
        """The line is gone."""
        if self._line is not None:
            self.problem = self.problem or str(error) or type(error).__name__

    def step(self, now_ns: int) -> None:
        """Close a line that has just been lost, try again to have one that was. `now_ns`: CLOCK_MONOTONIC, ns."""
        if not self.problem or self._line is None:
            return
        if self._next_ns is None:
            self._close(now_ns)
            self._tell(
                "safety.line_lost",
                f"{self._name} is gone: {self.problem}; it is tried again every {RETRY_S:g} s",
                "error",
            )
        elif now_ns >= self._next_ns:
            try:
                self._line.reopen()
                self._prove()
            except LINE_FAILURES as error:
                self.problem = str(error) or type(error).__name__
                self._close(now_ns)
                return
            self.problem, self._next_ns = "", None
            self._tell("safety.line_back", f"{self._name} is there again; a reset is possible now", "info")

    def _close(self, now_ns: int) -> None:
        with contextlib.suppress(Exception):
            if self._line is not None:
                self._line.close()
        self._next_ns = now_ns + round(RETRY_S * 1e9)
