"""What a GPIO line does, real or emulated: the contract that the safety task builds on.

Levels are logical: `True` is active. A line that cannot be read is never active; users must be safe then.
"""

from __future__ import annotations

from typing import Protocol


class InputLine(Protocol):
    """An input with edge events."""

    def fileno(self) -> int:
        """Descriptor that becomes readable at an edge, and when the line is gone."""

    def read(self) -> bool:
        """Level now, after dropping the edges that led to it. Raises LineError when the line is gone."""

    def close(self) -> None:
        """Give the line back."""


class OutputLine(Protocol):
    """An output. Closing it, or the end of the process by any cause, makes it inactive."""

    def set(self, active: bool) -> None:
        """Drive the line. Raises LineError when it is gone."""

    def close(self) -> None:
        """Drive the line inactive and give it back."""
