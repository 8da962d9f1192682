"""What every sensor does: the contract between sensor drivers and everything above."""

from __future__ import annotations

from typing import Annotated, ClassVar, Protocol

from pydantic import Field

from drivers.joint import Name, Options
from drivers.state import Floats


class SensorOptions(Options):
    """Options that every sensor has; a driver's own options extend them."""

    name: Name
    """Name of the sensor; observation terms refer to it as `sensor.NAME.FIELD`."""
    type: str
    """Driver of the sensor: `datagram`, or a name that a package offers under `reflexd.sensors`."""
    fields: dict[Name, Annotated[int, Field(ge=1, le=1024)]] = Field(min_length=1)
    """The sensor's fields in order, each with its number of values: `{ gyro = 3, orientation = 4 }`."""
    max_age: float = Field(default=0.1, gt=0)
    """A reading older than this (s) is not used: arming is refused, a running policy holds."""


class Sensor(Protocol):
    """A source of measurements. `read` runs inside the tick: it never waits and never raises."""

    Options: ClassVar[type[SensorOptions]]

    name: str
    fields: dict[str, slice]
    """Where each field lies in `values`."""
    values: Floats
    """Newest reading, all fields in order, shape (sum of widths,), NaN before the first; SI units. Always the same
    array, filled in place."""
    stamp_ns: int
    """CLOCK_MONOTONIC time of the newest reading, ns; 0 before the first."""

    def __init__(self, options: SensorOptions) -> None:
        """Keep the options; nothing is opened before `open`."""

    async def open(self) -> None:
        """Open the sensor. Raises SensorError."""

    def read(self, now_ns: int) -> None:
        """Take the newest reading that has arrived, if any."""

    async def close(self) -> None:
        """Close the sensor. Never raises."""
