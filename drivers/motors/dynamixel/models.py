"""The models of the Dynamixel X series that the driver knows.

Source: the ROBOTIS e-manual, pages and data sheets of the X series.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Model:
    """What differs from model to model."""

    name: str
    number: int
    """What the motor answers to a ping."""
    fast_firmware: int | None
    """First firmware with Fast Sync Read; None: it never has it."""
    current_unit: float
    """A per count of Present Current; NaN: the model reports a load in per cent instead, which is no torque."""
    torque_constant: float
    """Nm/A at the shaft, an estimate: stall torque over stall current of the data sheet. It leaves out the
    friction of the gears, so a torque from it is good for a trend, not for a measurement."""
    indirect: tuple[tuple[int, int, int], ...] = ((168, 224, 28), (578, 634, 28))
    """Blocks of indirect registers: first address register, first data byte, how many."""


_NONE = math.nan
_SMALL = ((168, 208, 20),)


def _large(name: str, number: int, unit: float = _NONE, torque: float = _NONE, current: float = 1.0) -> Model:
    return Model(name, number, 45, unit, torque / current)


def _small(name: str, number: int, torque: float, current: float) -> Model:
    return Model(name, number, 46, 1e-3, torque / current, _SMALL)


_ALL = (
    # name, number, current unit in A, stall torque in Nm at stall current in A (at the recommended voltage)
    _large("XH430-W350", 1000, 2.69e-3, 3.4, 1.3),
    _large("XH430-W210", 1010, 2.69e-3, 2.5, 1.3),
    _large("XM430-W350", 1020, 2.69e-3, 4.1, 2.3),
    _large("XM430-W210", 1030, 2.69e-3, 3.0, 2.3),
    _large("XH430-V350", 1040, 1.34e-3, 3.3, 0.7),
    _large("XH430-V210", 1050, 1.34e-3, 2.6, 0.7),
    _large("XL430-W250", 1060),
    _large("XC430-W150", 1070),
    _large("XC430-W240", 1080),
    Model("2XL430-W250", 1090, None, _NONE, _NONE),
    _large("XH540-W270", 1100, 2.69e-3, 9.9, 4.9),
    _large("XH540-W150", 1110, 2.69e-3, 7.1, 4.9),
    _large("XM540-W270", 1120, 2.69e-3, 10.6, 4.4),
    _large("XM540-W150", 1130, 2.69e-3, 7.3, 4.4),
    _large("XH540-V270", 1140, 2.69e-3, 9.2, 2.4),
    _large("XH540-V150", 1150, 2.69e-3, 6.4, 2.4),
    Model("2XC430-W250", 1160, None, _NONE, _NONE),
    _large("XW540-T260", 1170, 2.69e-3, 9.5, 4.9),
    _large("XW540-T140", 1180, 2.69e-3, 6.9, 4.9),
    _small("XL330-M077", 1190, 0.215, 1.47),
    _small("XL330-M288", 1200, 0.52, 1.47),
    _small("XC330-T181", 1210, 0.76, 0.80),
    _small("XC330-T288", 1220, 0.92, 0.80),
    _small("XC330-M181", 1230, 0.60, 1.80),
    _small("XC330-M288", 1240, 0.93, 1.80),
)

MODELS: dict[str, Model] = {model.name: model for model in _ALL}
NAMES: dict[int, str] = {model.number: model.name for model in _ALL}


def unknown(name: str) -> str:
    """What to say about a model that is not in the table."""
    close = difflib.get_close_matches(name.upper(), MODELS, n=3, cutoff=0.6) or list(MODELS)
    return f"model {name!r} is unknown to the dynamixel driver; did you mean {', '.join(close)}?"
