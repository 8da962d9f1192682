from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import Any

import pytest

from drivers import registry
from drivers.errors import DriverError
from drivers.sensor import SensorOptions
from drivers.sensors.datagram import DatagramSensor


class Lidar:
    Options = SensorOptions


class NotADriver:
    pass


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Entry points of the sensors' group by name; the test adds its own."""
    module = ModuleType("acme_plugin")
    module.Lidar = Lidar  # type: ignore[attr-defined]
    module.NotADriver = NotADriver  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "acme_plugin", module)
    offered = {"datagram": "drivers.sensors.datagram:DatagramSensor"}

    def entry_points(group: str) -> EntryPoints:
        return EntryPoints(
            EntryPoint(name.split("#")[0], value, group)
            for name, value in offered.items()
            if group == registry.SENSORS
        )

    monkeypatch.setattr(registry, "entry_points", entry_points)
    return offered


def test_our_own_drivers_are_found() -> None:
    assert registry.sensor_class("datagram") is DatagramSensor
    assert set(registry.known(registry.MOTORS)) >= {"damiao", "dynamixel"}
    assert registry.known(registry.SENSORS)["datagram"] == "reflexd"


def test_a_plugin_is_found(plugins: dict[str, str]) -> None:
    plugins["lidar"] = "acme_plugin:Lidar"
    found: Any = registry.sensor_class("lidar")
    assert found is Lidar


def test_an_unknown_type_names_the_known_ones() -> None:
    with pytest.raises(DriverError, match=r"unknown bus type 'canopen'; known: .*damiao.*dynamixel"):
        registry.bus_class("canopen")


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("acme_missing:Lidar", "'lidar', offered by an unknown package as acme_missing:Lidar, cannot be"),
        ("acme_plugin:Gone", "cannot be loaded: AttributeError"),
        ("acme_plugin:NotADriver", "not a sensor driver: its `Options` must be a subclass of SensorOptions"),
    ],
)
def test_a_broken_plugin_harms_only_who_uses_it(plugins: dict[str, str], target: str, text: str) -> None:
    plugins["lidar"] = target
    assert registry.sensor_class("datagram") is DatagramSensor
    assert list(registry.known(registry.SENSORS)) == ["datagram", "lidar"]
    with pytest.raises(DriverError, match=text):
        registry.sensor_class("lidar")
    (problem,) = registry.broken(registry.SENSORS)
    assert text in problem


def test_two_packages_with_one_name_are_refused(plugins: dict[str, str]) -> None:
    plugins["datagram#2"] = "acme_plugin:Lidar"
    with pytest.raises(DriverError, match="several packages"):
        registry.sensor_class("datagram")


def test_the_same_offer_seen_twice_is_one(plugins: dict[str, str]) -> None:
    plugins["datagram#2"] = plugins["datagram"]
    assert registry.sensor_class("datagram") is DatagramSensor
