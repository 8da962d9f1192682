"""Damiao motors in MIT mode on one CAN bus."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import ClassVar

from drivers.bus import BusCounters, BusOptions, CycleTime
from drivers.errors import BusError
from drivers.joint import Joint
from drivers.motors.damiao import options as checks
from drivers.motors.damiao.exchange import Exchange
from drivers.motors.damiao.frames import DISABLED, ENABLED, FAULTS, is_parameter
from drivers.motors.damiao.limits import MODELS
from drivers.motors.damiao.motor import Motor
from drivers.motors.damiao.options import DamiaoOptions
from drivers.motors.damiao.setup import Problems, Setup
from drivers.ports.can import ERROR_FLAG, RECEIVE_MAX, CanFrame, CanPort, explain_error_frame, header, open_can
from drivers.state import Floats, Ints, JointState

TORQUE_LOST = 0x10
"""Fault code of our own: a motor says that it is off, although it was energised and nobody switched it off."""

_ANSWERED, _ASKED, _UNSENT = 0, 1, 2  # values of Motor.silent
_NOT_FEEDBACK = -1
_KEY = 5  # id and length of a frame; what follows until the data is padding
_UNPACK = struct.Struct(">8xBHBBBBB").unpack


class DamiaoBus:
    """A bus of Damiao motors. In the tick a joint is a few integers: scales and offsets are worked out before."""

    Options: ClassVar[type[BusOptions]] = DamiaoOptions

    def __init__(self, options: BusOptions, joints: Sequence[Joint], index: Ints, state: JointState) -> None:
        """Keep the arguments; nothing is opened before `connect`. The config must be free of `problems`."""
        assert isinstance(options, DamiaoOptions)
        self.name = options.name
        self.joints = joints
        self.index = index
        self.counters = BusCounters()
        self.busy = False
        self.notes: list[str] = []
        """What the last connect or enable found and is fine: models, firmware, modes."""
        self.warnings: list[str] = []
        """What the last connect or enable found and put right."""
        self.line_error = ""
        """What the CAN controller reported last, in words; empty when it never did."""
        self._options = options
        self._motors = [
            Motor(joint, place, joint.id + options.reply_offset, MODELS[joint.model][0])
            for joint, place in zip(joints, index.tolist(), strict=True)
        ]
        self._reply_ids = frozenset(motor.reply_id for motor in self._motors)
        self._by_key = {header(motor.reply_id)[:_KEY]: motor for motor in self._motors}
        self._port: CanPort | None = None
        self._lock = asyncio.Lock()
        self._energised = False
        self.torque_part = 1.0
        self._torque_offs = 0
        self._state = state
        # Writing one element through a memoryview takes half the time that it takes through the array.
        rows = (state.position, state.velocity, state.torque, state.temperature, *state.counted)
        self._rows = tuple(memoryview(row) for row in rows)

    @property
    def unwatched(self) -> list[str]:
        """Joints whose motor has not confirmed its watchdog."""
        return [motor.name for motor in self._motors if not motor.watched]

    @staticmethod
    def cycle_time(options: BusOptions, joints: Sequence[Joint]) -> CycleTime:
        """Worst-case time of one cycle on the wire."""
        assert isinstance(options, DamiaoOptions)
        return checks.cycle_time(options, joints)

    @staticmethod
    def problems(options: BusOptions, joints: Sequence[Joint]) -> list[str]:
        """What is wrong with these joints on this bus."""
        assert isinstance(options, DamiaoOptions)
        return checks.problems(options, joints)

    # -- the tick

    def read(self, now_ns: int) -> None:
        """Take everything that has arrived into the state."""
        port = self._port
        if port is None or (port.down and not port.reopen(now_ns)):
            return
        # Once every motor has answered the newest request there is no need to ask the kernel for more: whatever
        # else is there is not an answer, and then the next tick finds less than it expects and reads on.
        limit = len(self._motors)
        while frames := port.receive(limit):
            good, timely = self._take(frames)
            self.counters.received += good
            if timely == limit or len(frames) < limit:
                break
            limit = RECEIVE_MAX

    def _take(self, frames: Sequence[bytes]) -> tuple[int, int]:
        """Take replies into the state. Returns how many are good, and how many of these answer the newest request.

        One long loop: what it does for a motor is done for every motor in every tick.
        """
        by_key = self._by_key
        position, velocity, torque, temperature, stamp, missed, fault = self._rows
        good = timely = 0
        for frame in frames:
            try:
                motor = by_key[frame[:_KEY]]
                first, p, b3, b4, b5, mosfet, rotor = _UNPACK(frame)
            except (KeyError, struct.error):
                self._stray(frame)
                continue
            if first == motor.healthy:
                code = 0
            elif (code := self._judge(motor, frame)) == _NOT_FEEDBACK:
                continue
            place = motor.index
            # Nothing in a reply says which request it answers. After a silent one it may be the late answer to
            # that, so it gets the older time, and the lag stays until two answers come at once: an age is never
            # understated, and a lost frame costs one period of it.
            if motor.older_ns:
                stamp[place] = motor.older_ns
                motor.older_ns = 0
                good += 1
            elif motor.open:
                stamp[place] = motor.asked_ns
                motor.open = False
                if motor.silent:
                    good += 1
                    timely += 1
                else:
                    self.counters.late += 1
            elif motor.asked_ns:
                self.counters.late += 1
            else:
                self.counters.foreign += 1
                continue
            motor.silent = _ANSWERED
            missed[place] = 0
            fault[place] = code
            position[place] = p * motor.position_scale + motor.position_base
            velocity[place] = (b3 << 4 | b4 >> 4) * motor.velocity_scale + motor.velocity_base
            torque[place] = ((b4 & 0x0F) << 8 | b5) * motor.torque_scale + motor.torque_base
            temperature[place] = mosfet if mosfet > rotor else rotor
        return good, timely

    def poll(self, now_ns: int) -> None:
        """Ask every motor for its state without commanding it."""
        self._request([motor.refresh for motor in self._motors], now_ns)

    def command(self, now_ns: int, position: Floats) -> None:
        """Send every joint its goal angle and ask for its state. If a goal is not finite, nothing is sent."""
        goals = position.tolist()
        try:
            frames = [motor.command(goals[motor.index]) for motor in self._motors]
        except (ValueError, OverflowError):
            frames = []
        self._request(frames, now_ns)

    def _request(self, frames: Sequence[bytes], now_ns: int) -> None:
        motors, counters = self._motors, self.counters
        sent = self._port.send(frames) if self._port is not None else 0
        counters.sent += sent
        for motor in motors if sent == len(motors) else motors[:sent]:
            if motor.silent:
                self._miss(motor)
            if motor.open:
                motor.older_ns = motor.asked_ns
            motor.asked_ns = now_ns
            motor.open = True
            motor.silent = _ASKED
        if sent < len(motors):
            counters.unsent += len(motors) - sent
            for motor in motors[sent:]:
                if motor.silent:
                    self._miss(motor)
                motor.silent = _UNSENT

    def _miss(self, motor: Motor) -> None:
        self._state.missed[motor.index] += 1
        if motor.silent == _ASKED:
            self.counters.lost += 1

    def _judge(self, motor: Motor, frame: bytes) -> int:
        """The fault code in feedback whose first byte is not the expected one, or _NOT_FEEDBACK."""
        status, low = divmod(frame[8], 16)
        if low != motor.low or (self._energised and is_parameter(frame[8:], motor.id)):
            self.counters.foreign += 1
            return _NOT_FEEDBACK
        if status in FAULTS:
            return status
        if status == DISABLED:
            return TORQUE_LOST if self._energised else 0
        if status == ENABLED:
            return 0  # an answer from before the motor was switched off
        self.counters.corrupt += 1
        return _NOT_FEEDBACK

    def _stray(self, packed: bytes) -> None:
        try:
            frame = CanFrame.parse(packed)
        except ValueError:
            self.counters.corrupt += 1
            return
        if frame.id & ERROR_FLAG:
            self.line_error = explain_error_frame(frame)
        elif frame.id in self._reply_ids:
            self.counters.corrupt += 1
        else:
            self.counters.foreign += 1

    # -- starting, arming, stopping

    async def connect(self) -> None:
        """Open the port, find and check every motor, set its mode and watchdog. Never energises a motor.

        Raises PortError, or BusError that lists every problem of every joint.
        """
        options, motors = self._options, self._motors
        await self.close()
        self._port = open_can(options.interface, options.channel, options.bitrate)
        try:
            async with self._setup() as setup:
                problems = await setup.find(motors)
                _add(problems, await setup.rest(setup.present))
                _add(problems, await setup.prepare([motor for motor in motors if motor not in problems]))
                self._raise(problems)
            self._port.listen_to(self._reply_ids)
        except BaseException:
            self._port.close()
            self._port = None
            raise

    async def enable(self) -> None:
        """Energise all motors of the bus, holding where they stand, and confirm it.

        Raises BusError, with all motors off again, when one does not confirm or `torque_off` came between.
        """
        offs = self._torque_offs
        async with self._setup() as setup:
            try:
                problems = await self._energise(setup, offs)
                if problems:
                    self._expect(DISABLED)
                    _add(problems, await setup.switch_off(self._motors))
            except BaseException:
                self.torque_off()
                raise
            self._raise(problems)

    async def _energise(self, setup: Setup, offs: int) -> Problems:
        problems = await setup.prepare(self._motors)
        if problems:
            return problems
        asked_ns = time.monotonic_ns()
        problems, held = await setup.energise(self._motors, lambda: self._torque_offs == offs)
        if problems:
            return problems
        self._expect(ENABLED)  # before the question that follows: a torque_off after it has the last word
        if self._torque_offs != offs:
            return {motor: ["torque was switched off while it was being energised"] for motor in self._motors}
        for motor in held:
            motor.asked_ns, motor.older_ns, motor.open, motor.silent = asked_ns, 0, True, _ASKED
        self._take([header(motor.reply_id) + data for motor, data in held.items()])
        return {}

    async def disable(self) -> None:
        """Torque off on all motors, confirmed. Raises BusError naming those that did not confirm."""
        self.torque_off()
        async with self._setup() as setup:
            self._raise(await setup.switch_off(self._motors))

    async def clear_faults(self) -> None:
        """Clear the motors' latched errors (torque stays off) and set them up again. Raises BusError."""
        self.torque_off()
        async with self._setup() as setup:
            problems = await setup.switch_off(self._motors)
            for step in (setup.clear, setup.prepare):
                problems |= await step([motor for motor in self._motors if motor not in problems])
            for motor in self._motors:
                if motor not in problems:
                    self._state.fault[motor.index] = 0
            self._raise(problems)

    def torque_off(self) -> None:
        """Send torque-off to all motors at once, without waiting for an answer; callable from any thread."""
        self._torque_offs += 1
        self._expect(DISABLED)
        port = self._port
        if port is not None:
            with suppress(Exception):
                port.shout([motor.disable for motor in self._motors])

    def explain(self, fault: int) -> str:
        """The motor's error code in words."""
        if fault == TORQUE_LOST:
            return "the motor has switched itself off (it may have restarted); check its supply"
        return FAULTS.get(fault, f"unknown error {fault:#x}")

    async def close(self) -> None:
        """Torque off, then close the port. Never raises."""
        if self._port is None:
            return
        try:
            await self.disable()
        except BusError:
            pass  # the motors' own watchdogs have to do it
        finally:
            self._port.close()
            self._port = None

    @asynccontextmanager
    async def _setup(self) -> AsyncIterator[Setup]:
        async with self._lock:
            port = self._port
            if port is None:
                raise BusError(self.name, ["not connected; connect it first"])
            setup = Setup(Exchange(port, self._motors, self.counters), self._options.watchdog)
            self.busy = True
            try:
                port.receive()  # answers to the tick's last request
                yield setup
            finally:
                self.notes, self.warnings = setup.notes, setup.warnings
                for motor in self._motors:
                    motor.forget()
                self.busy = False

    def _raise(self, problems: Problems) -> None:
        if problems:
            raise BusError(
                self.name,
                [
                    f"joint {motor.name} (id {motor.id:#x}): {text}"
                    for motor in self._motors
                    for text in problems.get(motor, ())
                ],
            )

    def _expect(self, status: int) -> None:
        self._energised = status == ENABLED
        for motor in self._motors:
            motor.healthy = status << 4 | motor.low


def _add(problems: Problems, more: Problems) -> None:
    for motor, texts in more.items():
        problems.setdefault(motor, []).extend(texts)
