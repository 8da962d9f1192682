"""All errors that drivers raise."""

from __future__ import annotations

from collections.abc import Sequence


class DriverError(Exception):
    """Base of all errors of this package."""


class PortError(DriverError):
    """A port could not be opened, or is gone: which one, what was found, what to do."""


class SensorError(DriverError):
    """A sensor could not be opened or set up."""


class LineError(DriverError):
    """A GPIO line could not be had, or is gone."""


class BusError(DriverError):
    """Motors on a bus are missing, differ from the config or did not obey. Lists every problem at once."""

    def __init__(self, bus: str, problems: Sequence[str]) -> None:
        self.bus = bus
        self.problems = tuple(problems)
        super().__init__(f"bus {bus}: " + "; ".join(self.problems))
