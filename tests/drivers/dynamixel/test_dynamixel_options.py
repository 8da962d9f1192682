"""What is checked before anything is opened."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from drivers.errors import BusError
from drivers.joint import Joint
from drivers.motors.dynamixel.bus import DynamixelBus
from drivers.motors.dynamixel.models import MODELS, NAMES
from drivers.motors.dynamixel.options import DynamixelOptions


def options(**values: object) -> DynamixelOptions:
    base = {"name": "arm", "type": "dynamixel", "port": "/dev/ttyUSB0"}
    return DynamixelOptions.model_validate(base | values)


@pytest.mark.parametrize("seconds", [0.02, 0.06, 0.1, 0.14, 2.54])
def test_watchdog_takes_multiples_of_its_unit(seconds: float) -> None:
    assert options(watchdog=seconds).watchdog == seconds


@pytest.mark.parametrize("seconds", [0.0, 0.01, 0.05, 0.0999, 2.56])
def test_watchdog_refuses_the_rest(seconds: float) -> None:
    with pytest.raises(ValidationError):
        options(watchdog=seconds)


def test_a_baud_that_the_motors_do_not_know() -> None:
    with pytest.raises(ValidationError, match="expected one of 9600"):
        options(baud=500_000)


def test_cycle_time_is_the_arithmetic_of_the_wire(make_joint) -> None:
    joints = [make_joint(f"j{ident}", ident) for ident in range(1, 8)]
    time = DynamixelBus.cycle_time(options(), joints)
    # Sync write 14 + 5 n, sync read 14 + n, n answers of 11 + 20 bytes, 10 µs each, 1 ms in the adapter.
    assert time.seconds == pytest.approx((14 + 35 + 14 + 7 + 7 * 31) * 1e-5 + 1e-3)
    assert "7 motors" in time.explanation
    assert "1000000 bit/s" in time.explanation
    assert "3.87 ms" in time.explanation
    assert DynamixelBus.cycle_time(options(port="/dev/ttyTHS1"), joints).seconds == pytest.approx(2.87e-3)
    assert DynamixelBus.cycle_time(options(baud=4_000_000), joints).seconds == pytest.approx(1.7175e-3)


def test_cycle_time_counts_the_longer_request_of_mixed_models(make_joint) -> None:
    joints = [make_joint("big", 1), make_joint("small", 2, "XL330-M288")]
    assert DynamixelBus.cycle_time(options(), joints).seconds == pytest.approx((24 + 20 + 62) * 1e-5 + 1e-3)


def test_problems_are_all_told(make_joint) -> None:
    joints = [
        make_joint("one", 1, "XM430-W530"),
        make_joint("two", 300),
        make_joint("three", 3, position_min=-90.0, position_max=90.0),
        make_joint("four", 4, position_min=-9.0, position_max=9.0, reduction=4.0),
    ]
    first, second, third = DynamixelBus.problems(options(), joints)
    assert "joint one: model 'XM430-W530' is unknown" in first
    assert "XM430-W350" in first
    assert "joint two: id 300; ids on this bus go up to 252" in second
    assert "joint three: its range is -56623 to 60719 pulses" in third


def test_a_bus_with_problems_cannot_be_made(make_joint, make_bus) -> None:
    with pytest.raises(BusError, match="unknown"):
        make_bus("/dev/null", [make_joint("one", 1, "AX-12")])


def test_models_have_names_of_their_own() -> None:
    assert len(MODELS) == len(NAMES) == 25
    assert NAMES[1020] == "XM430-W350"
    assert MODELS["XM430-W350"].torque_constant == pytest.approx(4.1 / 2.3)


def test_the_bus_is_what_the_contract_asks_for(make_bus, make_joint) -> None:
    from drivers.bus import Bus

    bus: Bus = make_bus("/dev/null", [make_joint("one", 1)])[0]
    assert isinstance(bus.joints[0], Joint)
    assert bus.Options is DynamixelOptions
