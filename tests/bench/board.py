"""The far end of the daemon's wires, in a process of its own above everybody else: it presses, and it notes when.

It lies between the daemon and the emulated robot. The e-stop's button is its own; drive-enable and the bus it
passes on. All moments are CLOCK_MONOTONIC, ns, taken right before a press and right after something was heard.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
import tty
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from drivers.emulated.gpio import GpioChip
from drivers.emulated.reactor import Reactor
from drivers.emulated.wires import PtyWire
from drivers.gpio.emulated import EmulatedOutput
from drivers.gpio.options import EmulatedLine
from drivers.motors.dynamixel.frames import sync_write
from drivers.motors.dynamixel.table import TORQUE_ENABLE
from runtime.config.config import Config
from safety.scheduling import run_as_fifo

ROBOT = (
    'emulated.gpio="{run}/robot.sock"',
    'safety.estop.path="{run}/robot.sock"',
    'safety.drive_enable.path="{run}/robot.sock"',
    'bus.arm.port="{run}/robot"',
)
"""Settings of the demo with which the emulator leaves the daemon's ends of the wires to the board."""
PRIORITY = 90
"""Above the safety thread, SCHED_FIFO: what is measured must not keep it from looking."""
STARTED_S = 10.0


class Board:
    """The process, and what can be asked of it."""

    def __init__(self, config: Config, robot: Config) -> None:
        """Start it between the daemon, which runs on `config`, and the emulator, which runs on `robot` already."""
        assert config.emulated is not None
        assert robot.emulated is not None
        self.lines = Path(config.emulated.gpio)
        """The daemon's lines."""
        motors = [joint.id for joint in config.joints]
        wires = (self.lines, Path(robot.emulated.gpio), Path(_port(config)), _port(robot), motors)
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, *wires), daemon=True)
        self._process.start()
        other.close()
        if not self._pipe.poll(STARTED_S):
            raise RuntimeError("the board did not start")
        self.scheduling: str = self._pipe.recv()

    def press(self, line: str, after_s: float) -> int:
        """Open the contact `line` after so long; when that was. Forgets what was noted before."""
        noted: int = self._ask("press", line, after_s)
        return noted

    def release(self, line: str) -> None:
        """Close the contact."""
        self._ask("release", line)

    def noted(self) -> dict[str, int]:
        """When what was heard for the first time since the press: `drive_off`, `torque_off` (the frame), `echo`.
        For the last time: `heartbeat` (an edge), `command` (other bytes on the bus, until drive-enable fell)."""
        found: dict[str, int] = self._ask("noted")
        return found

    def forget(self) -> None:
        """Forget what was noted."""
        self._ask("forget")

    def _ask(self, *request: Any) -> Any:
        self._pipe.send(request)
        return self._pipe.recv()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(STARTED_S)


def _port(config: Config) -> str:
    (bus,) = config.buses
    return str(bus.options.model_dump()["port"])


class _Wires:
    """In the board's process."""

    def __init__(
        self, pipe: Connection, lines: Path, robot_lines: Path, port: Path, robot_port: str, motors: list[int]
    ) -> None:
        self._pipe = pipe
        self._reactor = Reactor()
        self._noted: dict[str, int] = {}
        self._torque_off = sync_write(TORQUE_ENABLE.address, [(ident, b"\0") for ident in motors])
        self._heard = b""
        self._drive = EmulatedOutput(EmulatedLine(type="emulated", path=robot_lines, line="drive_enable"))
        self._robot = os.open(robot_port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._robot)
        inputs = {"estop": True, "reference": True}
        outputs = {"drive_enable": self._driven, "heartbeat": self._beaten, "echo": self._echoed}
        self._chip = GpioChip(self._reactor, lines, inputs, outputs)
        self._reactor.watch(pipe, self._asked)
        # To wait for a terminal is to wait for a kernel worker of ordinary priority, so the lines must not do it.
        self._bytes = Reactor()
        self._wire = PtyWire(self._bytes, port, self._commanded)
        self._bytes.watch(self._robot, lambda: self._wire.send(os.read(self._robot, 4096)))
        threading.Thread(target=self._pass_bytes, daemon=True).start()

    def run(self) -> None:
        """Until the other end of the pipe is closed."""
        reactor = self._reactor
        try:
            while True:
                due_ns = reactor.next_ns
                reactor.wait(1.0 if due_ns is None else (due_ns - time.monotonic_ns()) * 1e-9)
                reactor.run_due(time.monotonic_ns())
                reactor.run_ready()
        except EOFError:
            self._chip.close()

    def _pass_bytes(self) -> None:
        run_as_fifo(PRIORITY)
        while True:
            self._bytes.wait(1.0)
            self._bytes.run_ready()

    def _asked(self) -> None:
        match self._pipe.recv():
            case ("press", line, after_s):
                self._noted.clear()
                self._reactor.at(time.monotonic_ns() + round(after_s * 1e9), self._press, line.encode())
            case ("release", line):
                self._chip.set_input(line, True)
                self._pipe.send(None)
            case ("forget",):
                self._noted.clear()
                self._pipe.send(None)
            case ("noted",):
                self._pipe.send(dict(self._noted))

    def _press(self, line: bytes) -> None:
        pressed_ns = time.monotonic_ns()
        self._chip.set_input(line.decode(), False)
        self._pipe.send(pressed_ns)

    def _driven(self, level: bool) -> None:
        if not level:
            self._noted.setdefault("drive_off", time.monotonic_ns())
        self._drive.set(level)

    def _beaten(self, level: bool) -> None:
        self._noted["heartbeat"] = time.monotonic_ns()

    def _echoed(self, level: bool) -> None:
        if not level:
            self._noted.setdefault("echo", time.monotonic_ns())

    def _commanded(self, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        os.write(self._robot, data)
        self._heard = (self._heard + data)[-4 * len(self._torque_off) :]
        if self._torque_off in self._heard:
            self._noted.setdefault("torque_off", now_ns)
            self._heard = b""
        elif "drive_off" not in self._noted:
            self._noted["command"] = now_ns


def _serve(pipe: Connection, *wires: Any) -> None:
    scheduling = run_as_fifo(PRIORITY)
    board = _Wires(pipe, *wires)
    gc.freeze()
    gc.disable()
    pipe.send(scheduling.detail)
    board.run()
