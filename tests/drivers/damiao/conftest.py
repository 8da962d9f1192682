"""A robot of three Damiao joints whose motors live on the test's own event loop, behind a real socket."""

from __future__ import annotations

import asyncio
import socket
import time
from collections import deque
from pathlib import Path
from random import Random

import numpy as np
import pytest

from drivers.emulated.damiao import DamiaoDevices
from drivers.joint import Joint
from drivers.motors.damiao.bus import DamiaoBus
from drivers.motors.damiao.options import DamiaoOptions
from drivers.ports.can import CanFrame
from drivers.state import JointState

DEADLINE_S = 10.0


class Shaft:
    """A shaft that stands where the test puts it and remembers its drive law."""

    def __init__(self, position: float = 0.0) -> None:
        self.position = position
        self.velocity = 0.0
        self.torque = 0.0
        self.law = (0.0, 0.0, 0.0, 0.0)

    def drive(self, kp: float, kd: float, bias: float, limit: float) -> None:
        self.law = (kp, kd, bias, limit)

    def limp(self) -> None:
        self.law = (0.0, 0.0, 0.0, 0.0)

    @property
    def driven(self) -> bool:
        return self.law[0] > 0 or self.law[1] > 0


class Wire:
    """The motors' end of the bus. Their time stands still unless the test moves it."""

    def __init__(self, path: Path, devices: DamiaoDevices) -> None:
        self.path = path
        self.devices = devices
        self.now_ns = 1
        self.frames: list[CanFrame] = []
        """All that the host has sent."""
        self.loss = 0.0
        self.delay_s = 0.0
        self.hold = False
        """Keep replies back until the test releases them."""
        self.held: deque[bytes] = deque()
        self.replies = 0
        self.random = Random(1)
        self._listener: socket.socket | None = None
        self._client: socket.socket | None = None

    def listen(self) -> None:
        self.path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._listener.bind(str(self.path))
        self._listener.listen(4)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def hang_up(self) -> None:
        loop = asyncio.get_running_loop()
        for end in (self._client, self._listener):
            if end is not None:
                loop.remove_reader(end)
                end.close()
        self._client = self._listener = None

    def inject(self, packed: bytes) -> None:
        assert self._client is not None
        self._client.send(packed)

    def release(self, count: int = 1) -> None:
        for _ in range(min(count, len(self.held))):
            self._send(self.held.popleft())

    def sent(self, data: bytes) -> list[int]:
        """The ids to which the host has sent this data."""
        return [frame.id for frame in self.frames if frame.data == data]

    def _accept(self) -> None:
        assert self._listener is not None
        if self._client is not None:
            asyncio.get_running_loop().remove_reader(self._client)
            self._client.close()
        self._client, _ = self._listener.accept()
        self._client.setblocking(False)
        asyncio.get_running_loop().add_reader(self._client, self._readable)

    def _readable(self) -> None:
        while self._client is not None:
            try:
                packed = self._client.recv(72)
            except BlockingIOError:
                return
            if not packed:
                asyncio.get_running_loop().remove_reader(self._client)
                self._client.close()
                self._client = None
                return
            self.frames.append(CanFrame.parse(packed))
            if self.random.random() < self.loss:
                continue
            for _, reply in self.devices.receive(packed, self.now_ns):
                if self.random.random() < self.loss:
                    continue
                if self.hold:
                    self.held.append(reply)
                elif self.delay_s:
                    asyncio.get_running_loop().call_later(self.delay_s, self._send, reply)
                else:
                    self._send(reply)

    def _send(self, packed: bytes) -> None:
        if self._client is not None:
            self._client.send(packed)
            self.replies += 1


class Rig:
    """Three joints with different signs, offsets and reductions."""

    def __init__(self, path: Path, **options: object) -> None:
        common = {
            "bus": "legs",
            "velocity_max": 3.0,
            "acceleration_max": 20.0,
            "position_min": -2.0,
            "position_max": 2.0,
        }
        self.joints = [
            Joint(name="hip", id=1, model="DM8006", kp=35, kd=0.5, torque_max=30, **common),
            Joint(name="thigh", id=2, model="DM4310", kp=20, kd=1, torque_max=8, sign=-1, offset=0.3, **common),
            Joint(
                name="calf",
                id=0x13,
                model="DM4340",
                kp=60,
                kd=2,
                torque_max=40,
                reduction=1.5,
                offset=-0.2,
                **common,
            ),
        ]
        self.shafts = {joint.name: Shaft(joint.to_motor(0.1)) for joint in self.joints}
        self.devices = DamiaoDevices(
            [(j.name, j.id, j.id + 0x40, j.model, self.shafts[j.name]) for j in self.joints]
        )
        self.state = JointState(5)
        self.index = np.array([1, 2, 4])  # two joints of the robot hang elsewhere
        self.options = DamiaoOptions(
            name="legs",
            type="damiao",
            channel=str(path),
            **{"interface": "unix", "reply_offset": 0x40} | options,
        )
        assert DamiaoBus.problems(self.options, self.joints) == []
        self.bus = DamiaoBus(self.options, self.joints, self.index, self.state)
        self.wire = Wire(path, self.devices)
        self.goal = np.full(5, 0.1)

    async def until(self, condition, what: str = "") -> None:
        """Let the loop run until the condition holds."""
        end = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end, f"did not happen in {DEADLINE_S} s: {what}"
            await asyncio.sleep(0.001)

    async def answered(self, count: int = 3) -> None:
        """Wait until the motors have sent so many replies more than now."""
        target = self.wire.replies + count
        await self.until(lambda: self.wire.replies >= target, f"{count} replies")


@pytest.fixture
async def make_rig(tmp_path):
    made: list[Rig] = []

    def make(**options: object) -> Rig:
        rig = Rig(tmp_path / f"can{len(made)}", **options)
        rig.wire.listen()
        made.append(rig)
        return rig

    yield make
    for rig in made:
        await rig.bus.close()
        rig.wire.hang_up()


@pytest.fixture
async def rig(make_rig) -> Rig:
    return make_rig()


@pytest.fixture
def rig_class() -> type[Rig]:
    """For tests that bring their own loop or wire."""
    return Rig


@pytest.fixture
def shaft_class() -> type[Shaft]:
    return Shaft
