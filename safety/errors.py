"""All errors that the safety floor raises."""

from __future__ import annotations


class SafetyError(Exception):
    """Base of all errors of this package."""


class EnvelopeError(SafetyError):
    """The envelope cannot work with what it was given: which joint, what was found, what to do."""


class SupervisorError(SafetyError):
    """The safety thread could not be started, or is not running."""


class WatchdogError(SafetyError):
    """A hardware watchdog could not be armed: which device, what was found, what to do."""
