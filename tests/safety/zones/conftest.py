from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.sensors.datagram import DatagramOptions, DatagramSensor


def _sensor(**fields: int) -> DatagramSensor:
    return DatagramSensor(DatagramOptions(name="it", path=Path("unused"), fields=fields))


@pytest.fixture
def make_sensor() -> Callable[..., DatagramSensor]:
    """A sensor that is never opened: the test fills it."""
    return _sensor
