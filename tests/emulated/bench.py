"""The emulated robot's loop inside a test: injected clock, stand-ins for plant and motors, real descriptors."""

from __future__ import annotations

import json
import os
import socket
import struct
from pathlib import Path
from typing import Any

import numpy as np

from drivers.emulated.robot import Robot
from drivers.emulated.spec import RobotSpec

MS = 1_000_000
FRAME = struct.pack("<IBxxx8s", 1, 8, b"question")


class Clock:
    def __init__(self) -> None:
        self.now_ns = 5_000 * MS

    def __call__(self) -> int:
        return self.now_ns


class StandInPlant:
    def __init__(self, log: list[tuple[str, Any]]) -> None:
        self.timestep = 0.002
        self.time = 0.0
        self.powered = False
        self.position = 0.25
        self.velocity = self.torque = 0.0
        self.log = log

    def advance(self, to_seconds: float) -> None:
        while self.time < to_seconds - 1e-9:
            self.time += self.timestep
            self.log.append(("step", round(self.time, 6)))

    def axis(self, joint: str) -> Any:
        return self

    def power(self, on: bool) -> None:
        self.powered = on

    def sensor(self, fields: dict[str, int]) -> Any:
        if "gyro" not in fields:
            raise ValueError("the plant has no such sensor")
        return np.full(sum(fields.values()), self.time)

    def score(self) -> dict[str, float | int | str]:
        return {"picked": 3}

    def reset(self, seed: int | None = None) -> None:
        self.log.append(("reset", seed))

    def snapshot(self) -> Any:
        return np.array([self.time, 1.0])


class Echo:
    """Motors that answer what they hear."""

    def __init__(self, log: list[tuple[str, Any]], delay_ns: int = 0) -> None:
        self.log = log
        self.delay_ns = delay_ns

    def receive(self, data: bytes, now_ns: int) -> list[tuple[int, bytes]]:
        self.log.append(("receive", now_ns))
        return [(now_ns + self.delay_ns, data)]

    def advance(self, now_ns: int) -> None:
        self.log.append(("advance", now_ns))

    def fault(self, joint: str, kind: str, value: float = 1.0) -> None:
        self.log.append(("fault", (joint, kind, value)))


class Bench:
    """A robot with one bus of each kind."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.log: list[tuple[str, Any]] = []
        self.clock = Clock()
        self.start_ns = self.clock.now_ns
        self.plant = StandInPlant(self.log)
        self.devices = {"left": Echo(self.log), "right": Echo(self.log)}
        self.port = folder / "port"
        self.channel = folder / "can.sock"
        self.control = folder / "emulator.sock"
        joint = {"id": 1, "model": "any"}
        self.spec = RobotSpec.model_validate(
            {
                "model": "/none.xml",
                "joints": [
                    {"name": "a", "bus": "left", **joint},
                    {"name": "b", "bus": "right", **joint},
                ],
                "buses": [
                    {"name": "left", "type": "dynamixel", "port": self.port},
                    {"name": "right", "type": "damiao", "channel": str(self.channel)},
                ],
                "control": self.control,
                **more,
            }
        )
        self.robot = Robot(self.spec, self.plant, self.devices, self.clock)  # type: ignore[arg-type]

    def turn_at(self, milliseconds: float) -> None:
        self.clock.now_ns = self.start_ns + round(milliseconds * MS)
        self.robot.turn()

    def turn_until(self, milliseconds: float) -> None:
        """Turns without delay, to this time."""
        while self.clock.now_ns < self.start_ns + round(milliseconds * MS):
            self.clock.now_ns += MS
            self.robot.turn()

    def ask(self, **request: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(os.fspath(self.control))
            client.send(json.dumps(request).encode() + b"\n")
            for _ in range(3):
                self.robot.turn()
            client.setblocking(False)
            reply: dict[str, Any] = json.loads(client.recv(65536))
            return reply

    def count(self, what: str) -> int:
        return sum(name == what for name, _ in self.log)


def connect(bench: Bench) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(os.fspath(bench.channel))
    client.setblocking(False)
    bench.robot.turn()
    return client


def open_port(bench: Bench) -> int:
    return os.open(bench.port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
