"""Finds bus and sensor drivers by their type name, among our own and those of installed packages.

A package offers a driver through an entry point in the group `reflexd.motors` (a Bus) or `reflexd.sensors`
(a Sensor). Nothing is imported before it is used, so a broken package harms only who asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from drivers.bus import Bus, BusOptions
from drivers.errors import DriverError
from drivers.joint import Options
from drivers.sensor import Sensor, SensorOptions

MOTORS = "reflexd.motors"
SENSORS = "reflexd.sensors"


def bus_class(type_name: str) -> type[Bus]:
    """The bus driver of this type. Raises DriverError: unknown, ambiguous or broken."""
    return cast("type[Bus]", _load(MOTORS, type_name, BusOptions))


def sensor_class(type_name: str) -> type[Sensor]:
    """The sensor driver of this type. Raises DriverError: unknown, ambiguous or broken."""
    return cast("type[Sensor]", _load(SENSORS, type_name, SensorOptions))


def known(group: str) -> Mapping[str, str]:
    """Type names of a group, each with the package that offers it; nothing is imported."""
    return {
        name: ", ".join(sorted({_package(point) for point in points}))
        for name, points in sorted(_offers(group).items())
    }


def broken(group: str) -> list[str]:
    """Why drivers of a group cannot be used, one sentence each; imports all of them."""
    base = BusOptions if group == MOTORS else SensorOptions
    problems = []
    for name in known(group):
        try:
            _load(group, name, base)
        except DriverError as error:
            problems.append(str(error))
    return problems


def _offers(group: str) -> dict[str, list[EntryPoint]]:
    offers: dict[str, list[EntryPoint]] = {}
    for point in _unique(entry_points(group=group)):
        offers.setdefault(point.name, []).append(point)
    return offers


def _unique(points: Iterable[EntryPoint]) -> list[EntryPoint]:
    # An editable install beside its own source tree shows the same entry point twice.
    return list({(point.name, point.value, _package(point)): point for point in points}.values())


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown package"


def _load(group: str, type_name: str, base: type[Options]) -> Any:
    kind = "bus" if group == MOTORS else "sensor"
    offers = _offers(group)
    points = offers.get(type_name, [])
    if not points:
        names = ", ".join(sorted(offers)) or "none; is reflexd installed with its metadata?"
        raise DriverError(
            f"unknown {kind} type {type_name!r}; known: {names}. Correct the name, or install the package "
            f"that offers it under {group}"
        )
    if len(points) > 1:
        packages = ", ".join(f"{_package(point)} ({point.value})" for point in points)
        raise DriverError(f"{kind} type {type_name!r} is offered by several packages: {packages}; keep one")
    point = points[0]
    where = f"{kind} type {type_name!r}, offered by {_package(point)} as {point.value},"
    try:
        driver = point.load()
    except Exception as error:  # a plug-in may fail in any way while it is imported
        raise DriverError(
            f"{where} cannot be loaded: {type(error).__name__}: {error}; repair or remove that package"
        ) from error
    options = getattr(driver, "Options", None)
    if not (isinstance(options, type) and issubclass(options, base)):
        raise DriverError(
            f"{where} is not a {kind} driver: its `Options` must be a subclass of {base.__name__}; "
            "repair or remove that package"
        )
    return driver
