"""What a GPIO line does, real or emulated: the contract that the safety task builds on.

Levels are logical: `True` is active. A line that cannot be read is never active; users must be safe then.
A line that is gone is closed by its user at once, because a chip that comes back gets its old number only when
nobody holds the old one any more; then `reopen` may be tried.
"""

from __future__ import annotations

from typing import Protocol

REOPEN_SECONDS = 0.05
"""Longest time that `reopen` may wait for an answer."""


class InputLine(Protocol):
    """An input with edge events."""

    def fileno(self) -> int:
        """Descriptor that becomes readable at an edge, and when the line is gone."""

    def read(self) -> bool:
        """Level now, after dropping the edges that led to it. Raises LineError when the line is gone."""

    def reopen(self) -> None:
        """Have the line again after `close`; its descriptor may be another one. Raises LineError.

        Waits for nobody longer than `REOPEN_SECONDS`, so that the safety thread may call it.
        """

    def close(self) -> None:
        """Give the line back. Callable again and again."""


class OutputLine(Protocol):
    """An output. Closing it, or the end of the process by any cause, makes it inactive."""

    def set(self, active: bool) -> None:
        """Drive the line. Raises LineError when it is gone."""

    def check(self) -> None:
        """Raise LineError when the line is gone; drives nothing."""

    def reopen(self) -> None:
        """Have the line again after `close`, inactive. Raises LineError. Waits as little as an input's does."""

    def close(self) -> None:
        """Drive the line inactive and give it back. Callable again and again."""
