"""All errors that the safety floor raises."""

from __future__ import annotations

from collections.abc import Sequence


class SafetyError(Exception):
    """Base of all errors of this package."""


class EnvelopeError(SafetyError):
    """The envelope cannot work with what it was given: which joint, what was found, what to do."""


class SupervisorError(SafetyError):
    """The safety thread could not be started, or is not running."""


class WatchdogError(SafetyError):
    """A hardware watchdog could not be armed: which device, what was found, what to do."""


class WorkspaceError(SafetyError):
    """A robot's model cannot tell where the robot is."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        """One sentence for each: what was found, and what there is."""
        super().__init__("; ".join(problems))
