"""Builds the emulated robot from its spec; the only place that needs the extra `sim`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drivers.emulated.axis import MotorAxis
from drivers.emulated.devices import DeviceBus
from drivers.emulated.errors import EmulatorError
from drivers.emulated.robot import Robot
from drivers.emulated.spec import BusSpec, JointSpec, RobotSpec

if TYPE_CHECKING:
    from drivers.emulated.plant import Plant

DAMIAO_REPLY_OFFSET = 0x10  # the usual choice of master id; a motor can be told any other


def build(spec: RobotSpec) -> Robot:
    """Load the plant, put the motors on its axes and open all wires. Raises EmulatorError."""
    try:
        from drivers.emulated.plant import Plant
    except ImportError as error:
        raise EmulatorError(
            f"the emulated robot needs {error.name}; install the extra: pip install 'reflexd[sim]'"
        ) from error
    try:
        names = [joint.name for joint in spec.joints]
        plant = Plant(spec.model, names, spec.task, spec.timestep, spec.seed)
        devices = {bus.name: _devices(bus, spec.joints, plant) for bus in spec.buses}
    except (ValueError, KeyError, OSError) as error:
        raise EmulatorError(f"the emulated robot {spec.model} cannot be built: {error}") from error
    return Robot(spec, plant, devices)


def _devices(bus: BusSpec, joints: list[JointSpec], plant: Plant) -> DeviceBus:
    motors = [
        (joint, MotorAxis(plant.axis(joint.name), joint.sign, joint.offset, joint.reduction))
        for joint in joints
        if joint.bus == bus.name
    ]
    if bus.type == "dynamixel":
        from drivers.emulated.dynamixel import DynamixelDevices

        return DynamixelDevices([(joint.name, joint.id, joint.model, axis) for joint, axis in motors])
    from drivers.emulated.damiao import DamiaoDevices

    return DamiaoDevices(
        [
            (
                joint.name,
                joint.id,
                joint.id + DAMIAO_REPLY_OFFSET if joint.reply_id is None else joint.reply_id,
                joint.model,
                axis,
            )
            for joint, axis in motors
        ]
    )
