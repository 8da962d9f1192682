"""The emulated robot: motors on their wires, the plant that they move, sensors and GPIO lines, in real time.

One thread. Simulated time follows CLOCK_MONOTONIC; between two physics steps the process sleeps, and what
comes over a wire is handled at once. All parts live on one clock, the emulator's: it never runs ahead of the
physics, and when the process was held up for long it drops the lost time for everybody, so that no watchdog
fires because the machine was busy.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from drivers.emulated.control import ControlServer
from drivers.emulated.devices import FAULT_KINDS, DeviceBus
from drivers.emulated.errors import EmulatorError
from drivers.emulated.gpio import GpioChip
from drivers.emulated.links import Link, LinkFaults
from drivers.emulated.reactor import Reactor
from drivers.emulated.spec import BusSpec, CanBusSpec, RobotSpec, SensorSpec
from drivers.emulated.trajectory import Trajectory
from drivers.emulated.wires import CableWire, CanWire, PtyWire, SocketCanWire, Wire
from drivers.motors.damiao.frames import PARAMETER_ID

if TYPE_CHECKING:
    from drivers.emulated.plant import Plant

BEHIND_MAX_NS = 100_000_000
CONTACTORS = ("good", "welded", "stuck")
"""What can be wrong with the contactor behind drive-enable: welded stays closed, stuck stays open."""
CAMERA_FAULTS = ("", "stalled", "frozen", "black", "lost")
"""What can be wrong with an emulated camera; "" for nothing."""
_STAMP = struct.Struct("<Q")


class EmulatedBus:
    """One bus: wire, link faults and the motors behind them."""

    def __init__(self, spec: BusSpec, ids: Sequence[int], device: DeviceBus, robot: Robot, rng: Random) -> None:
        self.device = device
        self._robot = robot
        self._reactor = robot.reactor
        self.wire: Wire
        self._real: SocketCanWire | None = None
        if isinstance(spec, CanBusSpec):
            self.link = Link("can", rng)
            if spec.interface == "socketcan":
                self.wire = self._real = SocketCanWire(robot.reactor, spec.channel, ids, self._received)
            else:
                self.wire = CanWire(robot.reactor, Path(spec.channel), self._received)
        else:
            self.link = Link("serial", rng)
            if spec.cable:
                self.wire = CableWire(robot.reactor, str(spec.port), spec.baud, self._received)
            else:
                self.wire = PtyWire(robot.reactor, spec.port, self._received)

    def advance(self, now_ns: int) -> None:
        """Let the motors live until now, and look after a real interface."""
        self.device.advance(now_ns)
        if self._real is not None:
            self._real.step(now_ns)

    def _received(self, data: bytes) -> None:
        now_ns = self._robot.now_ns
        for at_ns, arrived in self.link.to_device(data, now_ns):
            if at_ns <= now_ns:
                self._deliver(arrived)
            else:
                self._reactor.at(at_ns, self._deliver, arrived)

    def _deliver(self, data: bytes) -> None:
        now_ns = self._robot.now_ns
        for send_ns, reply in self.device.receive(data, now_ns):
            for at_ns, arrived in self.link.to_host(reply, send_ns):
                if at_ns <= now_ns:
                    self.wire.send(arrived)
                else:
                    self._reactor.at(at_ns, self.wire.send, arrived)


class PowerFile:
    """Drive-enable of a real line, as a file that reads `1` while it is active, for example gpio-sim's `value`."""

    def __init__(self, path: Path) -> None:
        """Raises EmulatorError."""
        self._path = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise EmulatorError(
                f"drive-enable cannot be read at {path}: {error.strerror}; correct emulated.drive_enable"
            ) from error

    def on(self) -> bool:
        """Whether motor power flows; not when the line is gone. One that is back is another file."""
        try:
            return os.pread(self._fd, 1, 0) == b"1"
        except OSError:
            with suppress(OSError):
                fresh = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
                os.close(self._fd)
                self._fd = fresh
            return False

    def close(self) -> None:
        """Close it."""
        os.close(self._fd)


class EmulatedSensor:
    """Sends what the plant measures as datagrams: u64 CLOCK_MONOTONIC ns, then float64 values, little-endian."""

    def __init__(self, spec: SensorSpec, plant: Plant) -> None:
        self._plant = plant
        self._fields = spec.fields
        self._path = os.fspath(spec.path)
        self._period_ns = round(1e9 / spec.rate)
        self._due_ns = 0
        self.sent = 0
        self.unsent = 0
        try:
            plant.sensor(spec.fields)
        except (ValueError, KeyError) as error:
            raise EmulatorError(f"sensor {spec.name}: {error}") from error
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def step(self, now_ns: int, stamp_ns: int) -> None:
        """Send a datagram when one is due at `now_ns` of the emulator's clock."""
        if now_ns < self._due_ns:
            return
        self._due_ns += self._period_ns
        if self._due_ns <= now_ns:
            self._due_ns = now_ns + self._period_ns
        values = self._plant.sensor(self._fields)
        try:
            self._socket.sendto(_STAMP.pack(stamp_ns) + values.astype("<f8").tobytes(), self._path)
        except OSError:  # nobody reads, or does not keep up: measurements are not kept
            self.unsent += 1
        else:
            self.sent += 1

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Robot:
    """All parts of one emulated robot. `run` works until `stop`; `close` leaves no file behind."""

    def __init__(
        self,
        spec: RobotSpec,
        plant: Plant,
        devices: Mapping[str, DeviceBus],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Open everything. `devices`: the motors of every bus by its name. Raises EmulatorError."""
        self.plant = plant
        self.reactor = Reactor()
        self.trajectory = Trajectory()
        self.dropped_ns = 0
        self.priority: str = "ordinary process"
        self._clock = clock
        self._joints = {joint.name: joint for joint in spec.joints}
        self._step_s = plant.timestep
        self._origin_ns = clock()
        self._steps = 0
        self.now_ns = self._origin_ns
        """The emulator's clock: CLOCK_MONOTONIC less the dropped time, and never ahead of the physics."""
        self._next_ns = self._origin_ns + round(self._step_s * 1e9)
        self._stopping = False
        self._gpio: GpioChip | None = None
        self._power: PowerFile | None = None
        self._heartbeat_edges = 0
        self._contactor = "good"
        self._camera_faults: dict[str, str] = {}
        self._stamp_ns = self._origin_ns
        self._buses: dict[str, EmulatedBus] = {}
        self._sensors: dict[str, EmulatedSensor] = {}
        self._parts = ExitStack()
        self._parts.callback(self.reactor.close)
        try:
            for number, bus in enumerate(spec.buses):
                rng = Random(spec.seed * 1000 + number)
                ids = [PARAMETER_ID, *(joint.id for joint in spec.joints if joint.bus == bus.name)]
                self._buses[bus.name] = EmulatedBus(bus, ids, devices[bus.name], self, rng)
                self._parts.callback(self._buses[bus.name].wire.close)
            for sensor in spec.sensors:
                self._sensors[sensor.name] = EmulatedSensor(sensor, plant)
                self._parts.callback(self._sensors[sensor.name].close)
            if spec.drive_enable_file is not None:
                self._power = PowerFile(spec.drive_enable_file)
                self._parts.callback(self._power.close)
                plant.power(self._power.on())
            else:
                plant.power(spec.gpio is None or not spec.drive_enable)
            if spec.gpio is not None:
                outputs: dict[str, Callable[[bool], None]] = {"heartbeat": self._on_heartbeat}
                if self._power is None:
                    outputs["drive_enable"] = self._on_drive_enable
                inputs = {"estop": True, "estop_second": True, "reset": False, "drive_feedback": False}
                self._gpio = GpioChip(self.reactor, spec.gpio, inputs, outputs)
                self._parts.callback(self._gpio.close)
            if spec.control is not None:
                control = ControlServer(self.reactor, spec.control, self._control)
                self._parts.callback(control.close)
        except BaseException:
            self._parts.close()
            raise

    def run(self) -> None:
        """Work until `stop` is called."""
        while not self._stopping:
            self.turn()

    def stop(self) -> None:
        """Let `run` return after this turn."""
        self._stopping = True

    def close(self) -> None:
        """Close everything and remove sockets and links."""
        self._parts.close()

    def turn(self) -> None:
        """Sleep until something is due, then do it: at most one physics step, so that no wire waits long."""
        reactor = self.reactor
        due_ns = self._next_ns
        later_ns = reactor.next_ns
        if later_ns is not None and later_ns < due_ns:
            due_ns = later_ns
        reactor.wait((due_ns + self.dropped_ns - self._clock()) * 1e-9)
        now_ns = self._clock() - self.dropped_ns
        behind_ns = now_ns - self._next_ns
        if behind_ns > BEHIND_MAX_NS:
            self.dropped_ns += behind_ns
            now_ns -= behind_ns
        if behind_ns >= 0:
            self._step()
        self.now_ns = min(now_ns, self._next_ns)
        reactor.run_due(self.now_ns)
        reactor.run_ready()

    def _step(self) -> None:
        now_ns = self._next_ns
        plant = self.plant
        if self._power is not None and (on := self._power.on()) != plant.powered:
            plant.power(on)
        for bus in self._buses.values():
            bus.advance(now_ns)
        plant.advance(plant.time + self._step_s)
        self._steps += 1
        self._stamp_ns = now_ns + self.dropped_ns
        self._next_ns = self._origin_ns + round((self._steps + 1) * self._step_s * 1e9)
        for sensor in self._sensors.values():
            sensor.step(now_ns, self._stamp_ns)
        if self.trajectory.due(plant.time):
            self.trajectory.add(plant.time, plant.snapshot())

    def _on_drive_enable(self, level: bool) -> None:
        closed = {"good": level, "welded": level or self.plant.powered, "stuck": False}[self._contactor]
        self.plant.power(closed)
        if self._gpio is not None:
            self._gpio.set_input("drive_feedback", closed)

    def _on_heartbeat(self, level: bool) -> None:
        self._heartbeat_edges += 1

    # The control channel -------------------------------------------------------------------------------------

    def _control(self, request: dict[str, Any]) -> dict[str, Any]:
        op = request.get("op")
        operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "state": self._op_state,
            "score": lambda _: {"score": self.plant.score()},
            "reset": self._op_reset,
            "press": self._op_press,
            "contactor": self._op_contactor,
            "reset_button": self._op_reset_button,
            "fault": self._op_fault,
            "link": self._op_link,
            "plug": self._op_plug,
            "pose": self._op_pose,
            "camera": self._op_camera,
            "trajectory": self._op_trajectory,
            "log": self._op_log,
            "quit": self._op_quit,
        }
        if not isinstance(op, str) or op not in operations:
            raise ValueError(f"unknown op {op!r}; known: {', '.join(operations)}")
        return operations[op](request)

    def _op_state(self, request: dict[str, Any]) -> dict[str, Any]:
        joints = {}
        for name in self._joints:
            axis = self.plant.axis(name)
            joints[name] = {"position": axis.position, "velocity": axis.velocity, "torque": axis.torque}
        return {
            "time": self.plant.time,
            "dropped_s": self.dropped_ns * 1e-9,
            "priority": self.priority,
            "power": self.plant.powered,
            "pressed": self._gpio is not None and not self._gpio.level("estop"),
            "heartbeat_edges": self._heartbeat_edges,
            "joints": joints,
            "buses": {
                name: {
                    "connected": bus.wire.connected,
                    "received": bus.wire.received,
                    "sent": bus.wire.sent,
                    "unsent": bus.wire.unsent,
                }
                for name, bus in self._buses.items()
            },
            "sensors": {
                name: {"sent": sensor.sent, "unsent": sensor.unsent} for name, sensor in self._sensors.items()
            },
        }

    def _op_reset(self, request: dict[str, Any]) -> dict[str, Any]:
        self.plant.reset(request.get("seed"))
        self.trajectory.clear()
        return {"time": self.plant.time}

    def _op_press(self, request: dict[str, Any]) -> dict[str, Any]:
        pressed = request.get("pressed")
        if not isinstance(pressed, bool):
            raise ValueError(f"pressed: expected true or false, found {pressed!r}")
        if self._gpio is None:
            raise ValueError("this robot has no GPIO chip; give `gpio` in its spec")
        channels = request.get("channels", ["estop", "estop_second"])
        for name in channels:
            self._gpio.set_input(name, not pressed)
        return {"pressed": pressed}

    def _op_reset_button(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._gpio is None:
            raise ValueError("this robot has no GPIO chip; give `gpio` in its spec")
        self._gpio.set_input("reset", bool(request.get("pressed")))
        return {}

    def _op_contactor(self, request: dict[str, Any]) -> dict[str, Any]:
        kind = request.get("kind")
        if kind not in CONTACTORS:
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(CONTACTORS)}")
        if self._gpio is None or self._power is not None:
            raise ValueError("this robot's chip has no drive-enable; its contactor is somewhere else")
        self._contactor = kind
        self._on_drive_enable(self._gpio.level("drive_enable"))
        return {}

    def _op_fault(self, request: dict[str, Any]) -> dict[str, Any]:
        joint, kind = request.get("joint"), request.get("kind")
        if joint not in self._joints:
            raise ValueError(f"unknown joint {joint!r}; known: {', '.join(self._joints)}")
        if kind not in FAULT_KINDS:
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(FAULT_KINDS)}")
        device = self._buses[self._joints[joint].bus].device
        device.fault(joint, kind, float(request.get("value", 1.0)))
        return {}

    def _op_link(self, request: dict[str, Any]) -> dict[str, Any]:
        bus = request.get("bus")
        if bus not in self._buses:
            raise ValueError(f"unknown bus {bus!r}; known: {', '.join(self._buses)}")
        facts = {key: value for key, value in request.items() if key not in ("op", "bus")}
        self._buses[bus].link.set(LinkFaults(**facts))
        return {}

    def _op_plug(self, request: dict[str, Any]) -> dict[str, Any]:
        bus, plugged = request.get("bus"), request.get("plugged")
        if bus not in self._buses:
            raise ValueError(f"unknown bus {bus!r}; known: {', '.join(self._buses)}")
        if not isinstance(plugged, bool):
            raise ValueError(f"plugged: expected true or false, found {plugged!r}")
        try:
            self._buses[bus].wire.plug(plugged)
        except EmulatorError as error:
            raise ValueError(str(error)) from error
        return {"plugged": plugged}

    def _op_pose(self, request: dict[str, Any]) -> dict[str, Any]:
        """For cameras, which render it: the whole configuration, its moment, and what is wrong with the camera."""
        return {
            "qpos": self.plant.data.qpos.tolist(),
            "mono_ns": self._stamp_ns,
            "fault": self._camera_faults.get(request.get("camera", ""), ""),
        }

    def _op_camera(self, request: dict[str, Any]) -> dict[str, Any]:
        kind = request.get("kind")
        if kind not in CAMERA_FAULTS:
            raise ValueError(f"unknown kind {kind!r}; known: {', '.join(map(repr, CAMERA_FAULTS))}")
        self._camera_faults[str(request.get("camera"))] = kind
        return {}

    def _op_trajectory(self, request: dict[str, Any]) -> dict[str, Any]:
        self.trajectory.save(Path(request["path"]))
        return {"snapshots": len(self.trajectory)}

    def _op_log(self, request: dict[str, Any]) -> dict[str, Any]:
        save = getattr(self.plant.task, "save", None)
        if save is None:
            raise ValueError("the task of this robot keeps no log")
        save(Path(request["path"]))
        return {}

    def _op_quit(self, request: dict[str, Any]) -> dict[str, Any]:
        self.stop()
        return {}
