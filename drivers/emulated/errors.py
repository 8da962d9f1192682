"""What the emulated robot's process raises."""

from __future__ import annotations

from drivers.errors import DriverError


class EmulatorError(DriverError):
    """The emulated robot cannot be built, or was asked for something that it does not have."""
