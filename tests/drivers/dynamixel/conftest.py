from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
import time
import tty
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from drivers.emulated.dynamixel import DynamixelDevices
from drivers.joint import Joint
from drivers.motors.dynamixel.bus import DynamixelBus
from drivers.motors.dynamixel.frames import Instruction
from drivers.motors.dynamixel.options import DynamixelOptions
from drivers.motors.dynamixel.stream import PacketStream
from drivers.state import JointState

DEADLINE_S = 10.0


class FakeAxis:
    """A shaft without inertia: it stands still until `settle`, then it is where the law leads it."""

    def __init__(self, position: float = 0.0) -> None:
        self.position = position
        self.velocity = 0.0
        self.torque = 0.0
        self.law = (0.0, 0.0, 0.0, 0.0)

    def drive(self, kp: float, kd: float, bias: float, limit: float) -> None:
        self.law = (kp, kd, bias, limit)

    def limp(self) -> None:
        self.law = (0.0, 0.0, 0.0, 0.0)

    def settle(self) -> None:
        kp, _, bias, _ = self.law
        if kp:
            self.position = bias / kp


class Rig:
    """Emulated servos behind a pty, pumped by the running loop; what they heard is in `heard`."""

    def __init__(self, motors: list[tuple[str, int, str, float]], firmware: int) -> None:
        self.axes = {name: FakeAxis(angle) for name, _, _, angle in motors}
        self.devices = DynamixelDevices(
            [(name, ident, model, self.axes[name]) for name, ident, model, _ in motors], firmware
        )
        self.heard: list[Instruction] = []
        self.skip_ns = 0
        self.held: list[bytes] | None = None
        self.mangle: Callable[[bytes], bytes] = bytes
        self.hear: Callable[[bytes], bytes] = bytes
        self.echo = False
        self.written = 0
        self._stream = PacketStream(1024)
        self._loop = asyncio.get_running_loop()
        self.plug()

    def plug(self) -> None:
        """Come up as a terminal, under a number that it has not had before."""
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self.slave)
        self._loop.add_reader(self.master, self._readable)

    @property
    def now_ns(self) -> int:
        return time.monotonic_ns() + self.skip_ns

    def servo(self, joint: str):
        return self.devices.servos[joint]

    def skip(self, seconds: float) -> None:
        """Let time pass for the motors."""
        self.skip_ns += round(seconds * 1e9)
        self.devices.advance(self.now_ns)

    def hold(self) -> None:
        """Keep replies back until `release`."""
        self.held = []

    def release(self) -> None:
        held, self.held = self.held or [], None
        for reply in held:
            self._write(reply)

    def _readable(self) -> None:
        data = os.read(self.master, 4096)
        if self.echo:
            self._write(data)
        data = self.hear(data)
        self.heard += [packet for packet in self._stream.feed(data) if isinstance(packet, Instruction)]
        now_ns = self.now_ns
        self.devices.advance(now_ns)
        for _, reply in self.devices.receive(data, now_ns):
            if self.held is not None:
                self.held.append(reply)
            else:
                self._write(reply)

    def _write(self, reply: bytes) -> None:
        reply = self.mangle(reply)
        self.written += os.write(self.master, reply) if reply else 0

    def close(self) -> None:
        if self.master >= 0:
            self._loop.remove_reader(self.master)
            os.close(self.master)
            os.close(self.slave)
            self.master = -1

    async def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, "this did not happen in time"
            await asyncio.sleep(0.0005)

    async def cycle(self, bus: DynamixelBus, now_ns: int, goals: np.ndarray | None = None) -> None:
        """One tick's write, all that it causes on the wire, and the next tick's read."""
        packets, written = len(self.heard), self.written
        waiting = self._waiting(bus)
        if goals is None:
            bus.poll(now_ns)
        else:
            bus.command(now_ns, goals)
        await self.until(lambda: len(self.heard) >= packets + (1 if goals is None else 2))
        await self.until(lambda: self._waiting(bus) - waiting == self.written - written)
        bus.read(now_ns)

    def _waiting(self, bus: DynamixelBus) -> int:
        assert bus._port is not None
        return struct.unpack("i", fcntl.ioctl(bus._port.fileno(), termios.FIONREAD, b"\0" * 4))[0]


class Arm:
    """Emulated servos and the bus that drives them."""

    def __init__(self, rig: Rig, bus: DynamixelBus, state: JointState) -> None:
        self.rig, self.bus, self.state = rig, bus, state
        self.now_ns = 0

    async def tick(self, goals: list[float] | None = None) -> None:
        self.now_ns += 10_000_000
        await self.rig.cycle(self.bus, self.now_ns, None if goals is None else np.array(goals))


@pytest.fixture
async def rig() -> AsyncIterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(motors: list[tuple[str, int, str, float]], firmware: int = 46) -> Rig:
        rigs.append(Rig(motors, firmware))
        return rigs[-1]

    yield make
    for one in rigs:
        one.close()


@pytest.fixture
def make_joint() -> Callable[..., Joint]:
    def make(name: str, ident: int, model: str = "XM430-W350", **options: object) -> Joint:
        base = {
            "bus": "arm",
            "position_min": -3.0,
            "position_max": 3.0,
            "velocity_max": 2.0,
            "acceleration_max": 10.0,
        }
        return Joint.model_validate(base | {"name": name, "id": ident, "model": model} | options)

    return make


@pytest.fixture
def make_bus() -> Callable[..., tuple[DynamixelBus, JointState]]:
    def make(path: str | Path, joints: list[Joint], **options: object) -> tuple[DynamixelBus, JointState]:
        # The bus has other places in the robot's arrays than 0, 1, 2: mixing the two up must show.
        state = JointState(len(joints) + 2)
        index = np.arange(len(joints))[::-1] + 1
        base = {"name": "arm", "type": "dynamixel", "port": str(path)}
        return DynamixelBus(DynamixelOptions.model_validate(base | options), joints, index, state), state

    return make


@pytest.fixture
async def arm(rig, make_joint, make_bus) -> AsyncIterator[Callable[..., Arm]]:
    """Makes three servos, two models, with the bus connected unless told otherwise."""
    made: list[Arm] = []

    async def make(firmware: int = 46, connect: bool = True, **options: object) -> Arm:
        joints = [
            make_joint("base", 1),
            make_joint("shoulder", 2, "XM540-W270", sign=-1, offset=0.5, position_min=-2.5, position_max=2.5),
            make_joint("wrist", 5, "XL430-W250", reduction=2.0, position_min=-1.0, position_max=1.0),
        ]
        angles = {"base": 0.25, "shoulder": -0.4, "wrist": 0.8}
        wires = rig([(j.name, j.id, j.model, angles[j.name]) for j in joints], firmware)
        bus, state = make_bus(wires.path, joints, **options)
        made.append(Arm(wires, bus, state))
        if connect:
            await bus.connect()
        return made[-1]

    yield make
    for one in made:
        await one.bus.close()
