"""A bus of Dynamixel X-series servos in position mode, Protocol 2.0.

A cycle is one write: a Sync Write of the goals and a (Fast) Sync Read of the block described in `block.py`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

from drivers.bus import BusCounters, BusOptions, CycleTime
from drivers.errors import BusError, PortError
from drivers.joint import Joint
from drivers.motors.dynamixel import block, faults, frames, setup
from drivers.motors.dynamixel.exchange import TIMEOUT_S, Exchange
from drivers.motors.dynamixel.frames import Instruction, Status
from drivers.motors.dynamixel.models import MODELS
from drivers.motors.dynamixel.options import DynamixelOptions, cycle_time, problems
from drivers.motors.dynamixel.stream import PacketStream
from drivers.motors.dynamixel.table import (
    GOAL_POSITION,
    POSITION_UNIT,
    TORQUE_ENABLE,
    TURN,
    VELOCITY_UNIT,
    VOLTAGE_UNIT,
    WATCHDOG_TRIPPED,
    WATCHDOG_UNIT,
    ZERO_TICK,
)
from drivers.ports.serial import SerialPort
from drivers.state import Floats, Ints, JointState

_FAST_TRIES = 3
_STUFFING_MAX = 8


class DynamixelBus:
    """The servos on one serial port. See `drivers.bus.Bus` for what each method promises."""

    Options: ClassVar[type[BusOptions]] = DynamixelOptions

    def __init__(self, options: BusOptions, joints: Sequence[Joint], index: Ints, state: JointState) -> None:
        assert isinstance(options, DynamixelOptions)
        if wrong := problems(joints):
            raise BusError(options.name, wrong)
        self.name = options.name
        self.joints = joints
        self.index = index
        self.counters = BusCounters()
        self.busy = False
        self.warnings: list[str] = []
        """What the last `connect`, `enable` or `clear_faults` found odd or had to put right, one sentence each."""
        self.fast = False
        """Whether states are asked for by Fast Sync Read."""
        self.fallbacks = 0
        """How often Fast Sync Read was given up for plain Sync Read because replies stayed incomplete."""
        self._options = options
        self._state = state
        self._port: SerialPort | None = None
        self._lock = asyncio.Lock()
        self._watchdog = round(options.watchdog / WATCHDOG_UNIT)
        self._motors = [setup.Motor(joint, MODELS[joint.model]) for joint in joints]
        ids = tuple(joint.id for joint in joints)
        self._place = {ident: place for place, ident in enumerate(ids)}
        self._index: list[int] = index.tolist()
        self._goals = struct.Struct("<" + "Bi" * len(ids))
        self._goal_header = frames.sync_write(GOAL_POSITION.address, [(i, bytes(4)) for i in ids])[:12]
        self._ids = ids
        self._off = 2 * frames.sync_write(TORQUE_ENABLE.address, [(i, b"\0") for i in ids])
        self._scales = [_scales(motor) for motor in self._motors]
        self._low = [0] * len(joints)
        self._high = [TURN - 1] * len(joints)
        self.torque_part = 1.0
        self._energised = False
        self._offs = 0  # how often torque-off was ordered
        self._requests: tuple[bytes, ...] = ()
        self._stream = PacketStream(0)
        self._turn = 0
        self._asked_ns = [0] * len(block.LENGTHS)
        self._answered = [True] * len(joints)
        self._heard = len(joints)
        self._incomplete = 0
        self._last_write = b""

    @property
    def unwatched(self) -> list[str]:
        """Joints whose motor has not confirmed its watchdog."""
        return [motor.joint.name for motor in self._motors if not motor.watched]

    # Checked before anything is opened ----------------------------------------------------------------------

    @staticmethod
    def cycle_time(options: BusOptions, joints: Sequence[Joint]) -> CycleTime:
        """Worst-case time of one cycle on the wire."""
        assert isinstance(options, DynamixelOptions)
        return cycle_time(options, joints)

    @staticmethod
    def problems(options: BusOptions, joints: Sequence[Joint]) -> list[str]:
        """What is wrong with these joints on this bus."""
        return problems(joints)

    # The tick ---------------------------------------------------------------------------------------------------

    def read(self, now_ns: int) -> None:
        """Take everything that has arrived into the state."""
        if self._port is None:
            return
        data = self._port.read()
        if not data:
            return
        self._take(self._stream.feed(data))
        self.counters.corrupt += self._stream.corrupt
        self._stream.corrupt = 0

    def poll(self, now_ns: int) -> None:
        """Ask every motor for its state."""
        self._ask(now_ns, b"")

    def command(self, now_ns: int, position: Floats) -> None:
        """Send every joint its goal angle and ask for its state. `position`: rad, shape (robot joints,)."""
        values: list[int] = []
        try:
            for ident, index, (slope, zero, _, _), low, high in zip(
                self._ids, self._index, self._scales, self._low, self._high, strict=True
            ):
                goal = round((position.item(index) - zero) / slope)
                values += (ident, low if goal < low else high if goal > high else goal)
        except (ValueError, OverflowError):  # NaN or infinity: no goal is better than a made-up one
            self.counters.unsent += 1
            self._ask(now_ns, b"")
            return
        body = self._goals.pack(*values)
        packet = frames.finish(self._goal_header + body)
        if b"\xff\xff\xfd" in body:
            packet = frames.sync_write(
                GOAL_POSITION.address, [(body[at], body[at + 1 : at + 5]) for at in range(0, len(body), 5)]
            )
        self._ask(now_ns, packet)

    def _ask(self, now_ns: int, goals: bytes) -> None:
        if self._port is None:
            return
        counters, answered = self.counters, self._answered
        if not all(answered):
            missed = self._state.missed
            for place, has_answered in enumerate(answered):
                if not has_answered:
                    missed[self._index[place]] += 1
                    counters.lost += 1
        if self.fast:
            self._incomplete = self._incomplete + 1 if self._heard < len(answered) else 0
            if self._incomplete >= _FAST_TRIES:
                self.fallbacks += 1
                self._use(fast=False)
        self._answered = [False] * len(answered)
        self._heard = 0
        self._turn = turn = (self._turn + 1) % len(block.LENGTHS)
        self._asked_ns[turn] = now_ns
        self._last_write = data = goals + self._requests[turn]
        if self._port.write(data):
            counters.sent += 2 if goals else 1
        else:
            counters.unsent += 1

    def _take(self, packets: list[Instruction | Status]) -> None:
        counters, state, unpack = self.counters, self._state, block.VALUES.unpack_from
        for packet in packets:
            if isinstance(packet, Instruction):
                # A half-duplex adapter may send back what we sent.
                if packet.pack() not in self._last_write + self._off:
                    counters.foreign += 1
                continue
            place = self._place.get(packet.id)
            turn = block.TURNS.get(len(packet.params))
            if place is None:
                counters.foreign += 1
                continue
            if turn is None or packet.error & 0x7F:
                counters.corrupt += 1
                continue
            asked_ns = self._asked_ns[turn]
            if not asked_ns:
                counters.foreign += 1
                continue
            if turn == self._turn:
                counters.received += 1
                self._answered[place] = True
            else:
                counters.late += 1
            self._heard += 1
            torque, fault, watchdog, current, velocity, position, voltage, temperature = unpack(packet.params)
            index = self._index[place]
            state.missed[index] = 0
            if watchdog != self._watchdog:
                if watchdog != WATCHDOG_TRIPPED:
                    # It has restarted: the block that was mapped is gone, these bytes are no measurements.
                    state.fault[index] = faults.RESTARTED
                    continue
                fault |= faults.WATCHDOG
            if self._energised and not torque:
                fault |= faults.TORQUE_LOST
            slope, zero, speed, strength = self._scales[place]
            state.fault[index] = fault | packet.error
            state.stamp_ns[index] = asked_ns
            state.position[index] = position * slope + zero
            state.velocity[index] = velocity * speed
            state.torque[index] = current * strength
            state.voltage[index] = voltage * VOLTAGE_UNIT
            state.temperature[index] = temperature

    # Starting, arming, stopping ---------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open the port, find every motor, compare, set up, arm the watchdogs. Raises BusError."""
        try:
            port = SerialPort(self._options.port, self._options.baud)
        except PortError as error:
            raise BusError(self.name, [str(error)]) from error
        self._port = port
        self.warnings = []
        try:
            async with self._exchanging() as exchange:
                wrong = [port.problem] if port.problem else []
                where = f"{self._options.port} at {self._options.baud} baud"
                wrong += await setup.find(exchange, self._motors, where, self.warnings)
                if not wrong:
                    wrong = await setup.configure(exchange, self._motors, self._watchdog, self.warnings)
                self._raise(wrong)
                for place, motor in enumerate(self._motors):
                    self._low[place], self._high[place] = motor.low, motor.high
                self._use(fast=all(motor.fast for motor in self._motors))
        except BaseException:
            self._port = None
            port.close()
            raise

    async def enable(self) -> None:
        """Energise all motors of the bus, holding where they stand, and confirm it. Raises BusError."""
        offs = self._offs
        self.warnings = []
        # While torque is on, a motor must not wait for a lost answer of another one until its watchdog trips.
        async with self._exchanging(min(TIMEOUT_S, self._options.watchdog / 3)) as exchange:
            try:
                wrong = await setup.energise(exchange, self._motors, self._watchdog, lambda: self._offs != offs)
                wrong = wrong or await setup.limit_torque(exchange, self._motors, self.torque_part)
            except BaseException:
                self.torque_off()
                raise
            if wrong:
                wrong += await setup.rest(exchange, self._motors)
            self._raise(wrong)
            self._energised = True
            self._state.fault[self.index] = 0
        if self._offs != offs:
            # Ordered after the last look: energised must not win against off.
            self.torque_off()
            raise BusError(self.name, ["torque-off was ordered while the motors were being energised"])

    async def disable(self) -> None:
        """Torque off on all motors, confirmed. Raises BusError naming those that did not confirm."""
        self.torque_off()
        async with self._exchanging() as exchange:
            self._raise(await setup.rest(exchange, self._motors))

    async def clear_faults(self) -> None:
        """Clear the motors' latched errors by restarting those that have one, and set all up again."""
        self.torque_off()
        self.warnings = []
        async with self._exchanging() as exchange:
            self._raise(await setup.clear(exchange, self._motors, self._watchdog, self.warnings))
            self._state.fault[self.index] = 0
            self._use(fast=all(motor.fast for motor in self._motors))

    def torque_off(self) -> None:
        """Send torque-off to all motors at once; callable from any thread, never raises."""
        self._offs += 1
        self._energised = False
        port = self._port
        # Twice in one write: the first may collide with answers that are on the wire.
        if port is not None and not port.write(self._off):
            self.counters.unsent += 1

    def explain(self, fault: int) -> str:
        """The motor's error code in words."""
        return faults.explain(fault)

    async def close(self) -> None:
        """Torque off, then close the port. Never raises."""
        if self._port is None:
            return
        try:
            await self.disable()
        except BusError:
            self.torque_off()
        finally:
            port, self._port = self._port, None
            if port is not None:
                port.close()

    @asynccontextmanager
    async def _exchanging(self, timeout_s: float = TIMEOUT_S) -> AsyncIterator[Exchange]:
        """Have the port alone; one that was gone is opened again. Raises BusError when that fails."""
        async with self._lock:
            port = self._port
            if port is None:
                raise BusError(self.name, [f"port {self._options.port} is not open; connect first"])
            if port.error is not None:
                with suppress(PortError):
                    port.reopen()
                self._raise_if_gone(port)
                self._raise([port.problem] if port.problem else [])
            self.busy = True
            try:
                yield Exchange(port, timeout_s)
                self._raise_if_gone(port)
            except BusError:
                self._raise_if_gone(port)
                raise
            finally:
                self._forget_requests()
                self.busy = False

    def _raise_if_gone(self, port: SerialPort) -> None:
        if port.error is not None:
            why = port.error.strerror
            raise BusError(self.name, [f"port {port.path} is gone ({why}); check the adapter and its cable"])

    def _use(self, fast: bool) -> None:
        """Ask by Fast Sync Read or by plain Sync Read from now on."""
        self.fast = fast
        self._incomplete = 0
        addresses = [block.address(motor.model) for motor in self._motors]
        self._requests = tuple(block.request(self._ids, addresses, length, fast) for length in block.LENGTHS)
        # Long enough for our own packets too, which some adapters send back.
        longest = max(block.LENGTH_MAX + _STUFFING_MAX, *(len(one) for one in self._requests), len(self._off))
        longest = max(longest, len(self._goal_header) + self._goals.size + _STUFFING_MAX)
        self._stream = PacketStream(longest, self._ids, block.fast_lengths(len(self._ids)))

    def _forget_requests(self) -> None:
        """What was asked before an exchange is not owed any more."""
        self._stream.reset()
        self._asked_ns = [0] * len(block.LENGTHS)
        self._answered = [True] * len(self._answered)
        self._heard = len(self._answered)

    def _raise(self, wrong: Sequence[str]) -> None:
        if wrong:
            raise BusError(self.name, wrong)


def _scales(motor: setup.Motor) -> tuple[float, float, float, float]:
    """Joint angle = first * pulses + second; joint speed and joint torque per count of the motor's."""
    joint, model = motor.joint, motor.model
    per_motor_angle = joint.from_motor(1.0) - joint.from_motor(0.0)
    return (
        per_motor_angle * POSITION_UNIT,
        joint.from_motor(-ZERO_TICK * POSITION_UNIT),
        per_motor_angle * VELOCITY_UNIT,
        model.current_unit * model.torque_constant / per_motor_angle,
    )
