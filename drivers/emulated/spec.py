"""What the emulated robot's process is told: one JSON document, written by the runtime or by a test."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from drivers.joint import Name, Options


class JointSpec(Options):
    """One joint and the emulated motor that moves it; as in the robot's config."""

    name: Name
    """Name of the joint; the plant finds `NAME` or `NAME_joint` in the model."""
    bus: str
    """Bus that the motor hangs on."""
    id: int
    """The motor's id on its bus."""
    model: str
    """The motor's model."""
    sign: Literal[1, -1] = 1
    """-1 when the joint turns against the motor."""
    offset: float = 0.0
    """Joint angle at the motor's zero, rad."""
    reduction: float = Field(default=1.0, gt=0)
    """Gear reduction between the motor and the joint."""
    reply_id: int | None = None
    """Damiao: CAN id of the motor's replies; default `id + 0x10`."""


class SerialBusSpec(Options):
    """Dynamixel servos on a pty, or at the other end of a real cable."""

    name: Name
    """Name of the bus."""
    type: Literal["dynamixel"]
    """Protocol."""
    port: Path
    """Symbolic link that the emulator makes to the pty; with `cable` the serial adapter at this end of it."""
    cable: bool = False
    """Whether there is a real cable."""
    baud: int = 1_000_000
    """Its bits per second; a pty has none."""


class CanBusSpec(Options):
    """Damiao motors on a socket that carries `struct can_frame`, or on a real CAN interface."""

    name: Name
    """Name of the bus."""
    type: Literal["damiao"]
    """Protocol."""
    interface: Literal["unix", "socketcan"] = "unix"
    """What `channel` is."""
    channel: str
    """`unix`: SOCK_SEQPACKET socket on which the emulator listens; `socketcan`: interface that its motors join."""


BusSpec = Annotated[SerialBusSpec | CanBusSpec, Field(discriminator="type")]


class SensorSpec(Options):
    """A sensor that the plant feeds with datagrams."""

    name: Name
    """Name of the sensor."""
    path: Path
    """Unix SOCK_DGRAM socket that the reader binds."""
    fields: dict[str, int] = Field(min_length=1)
    """Fields in order, each with its number of values."""
    rate: float = Field(gt=0, le=10_000)
    """Datagrams per second; at most one per physics step is sent."""


class RobotSpec(Options):
    """The whole emulated robot."""

    model: Path
    """MJCF file."""
    task: str | None = None
    """Task that runs in the plant, `package.module:Class`."""
    timestep: float | None = Field(default=None, gt=0)
    """Physics step, s; default the model's own."""
    seed: int = 0
    """Seed of the task and of the link faults."""
    joints: list[JointSpec] = Field(min_length=1)
    """All joints in the robot's order."""
    buses: list[BusSpec] = Field(min_length=1)
    """All buses."""
    sensors: tuple[SensorSpec, ...] = ()
    """All emulated sensors."""
    gpio: Path | None = None
    """Socket of the emulated GPIO chip; without one, motor power always flows."""
    drive_enable: bool = True
    """Motor power follows the chip's line `drive_enable`; false for a robot that has no such line."""
    drive_enable_file: Path | None = None
    """Motor power follows this file instead, which reads `1` while a real line is active."""
    control: Path | None = None
    """Socket of the control channel."""
    avoid_cpus: tuple[int, ...] = ()
    """CPUs that the process leaves to somebody else."""
    priority: int | None = Field(default=None, ge=1, le=99)
    """SCHED_FIFO priority of the process; without one it stays an ordinary process."""

    @model_validator(mode="after")
    def _names_fit(self) -> RobotSpec:
        buses = [bus.name for bus in self.buses]
        for kind, names in (("bus", buses), ("joint", [joint.name for joint in self.joints])):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"{kind} names given twice: {', '.join(twice)}; every name must be unique")
        for joint in self.joints:
            if joint.bus not in buses:
                raise ValueError(
                    f"joint {joint.name} hangs on bus {joint.bus}, which is not among {', '.join(buses)}"
                )
        return self
