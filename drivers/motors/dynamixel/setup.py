"""Finding, setting up, energising and resting the motors of a bus. Each function returns what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drivers.joint import Joint
from drivers.motors.dynamixel import block, frames
from drivers.motors.dynamixel.exchange import TRIES, Exchange
from drivers.motors.dynamixel.models import NAMES, Model
from drivers.motors.dynamixel.table import (
    BUS_WATCHDOG,
    DRIVE_MODE,
    DRIVE_REVERSE,
    DRIVE_SLAVE,
    DRIVE_TORQUE_ON_BY_GOAL,
    EXTENDED_MAX,
    GOAL_POSITION,
    GOAL_PWM,
    HARDWARE_ERRORS,
    INDIRECT_ADDRESS,
    MAX_POSITION_LIMIT,
    MIN_POSITION_LIMIT,
    MODE_EXTENDED,
    MODE_POSITION,
    OPERATING_MODE,
    POSITION_UNIT,
    PROFILE_ACCELERATION,
    PROFILE_VELOCITY,
    PWM_LIMIT,
    RETURN_DELAY,
    SHUTDOWN,
    STARTUP,
    STARTUP_TORQUE_ON,
    STATUS_RETURN_LEVEL,
    TORQUE_ENABLE,
    TURN,
    WATCHDOG_FIRMWARE,
    ZERO_TICK,
    Register,
)

_PROFILE_SIZE = PROFILE_ACCELERATION.size + PROFILE_VELOCITY.size
_REST_TRIES = 4
_REBOOT_TIMEOUT_S = 3.0
_REBOOT_POLL_S = 0.05


@dataclass(slots=True)
class Motor:
    """A joint's motor: what the config says, and what was found."""

    joint: Joint
    model: Model
    firmware: int = 0
    extended: bool = False
    """Whether it counts turns (operating mode 4)."""
    low: int = 0
    """Lowest goal position that it takes, pulses."""
    high: int = TURN - 1
    """Highest goal position that it takes, pulses."""
    watched: bool = False
    """Whether its own watchdog was set, and read back."""

    @property
    def id(self) -> int:
        """Its id on the bus."""
        return self.joint.id

    @property
    def fast(self) -> bool:
        """Whether it knows Fast Sync Read."""
        first = self.model.fast_firmware
        return first is not None and self.firmware >= first

    @property
    def label(self) -> str:
        """Its name in messages."""
        return f"joint {self.joint.name} (id {self.joint.id})"

    @property
    def range(self) -> tuple[int, int]:
        """The joint's range, pulses, lower end first."""
        return ticks(self.joint)


def ticks(joint: Joint) -> tuple[int, int]:
    """A joint's range in pulses of its motor, lower end first."""
    motor = (joint.to_motor(joint.position_min), joint.to_motor(joint.position_max))
    ends = [angle / POSITION_UNIT + ZERO_TICK for angle in motor]
    return round(min(ends)), round(max(ends))


def fits_one_turn(joint: Joint) -> bool:
    """Whether the position mode (3) can do the joint's whole range."""
    low, high = ticks(joint)
    return low >= 0 and high <= TURN - 1


def hardware_errors(bits: int) -> str:
    """The bits of register 70 in words."""
    words = [text for bit, text in HARDWARE_ERRORS.items() if bits & bit]
    return ", ".join(words) or f"unknown hardware error 0x{bits:02x}"


async def find(exchange: Exchange, motors: Sequence[Motor], where: str, warnings: list[str]) -> list[str]:
    """Ping all motors and compare them with the config; one found with torque on is switched off."""
    problems: list[str] = []
    # At a lower level a motor would not acknowledge writes; and nothing below would be known to have worked.
    exchange.send(_all(motors, STATUS_RETURN_LEVEL, 2))
    present = []
    for motor in motors:
        answer = await exchange.ping(motor.id)
        if answer is None:
            problems.append(
                f"{motor.label}, {motor.model.name}, does not answer on {where}; check power, cable, id and baud"
            )
            continue
        number, motor.firmware = answer
        if number != motor.model.number:
            found = NAMES.get(number, "unknown to this driver")
            problems.append(
                f"{motor.label} is model {number} ({found}), the config says {motor.model.name} "
                f"({motor.model.number}); correct the model or the id"
            )
        elif motor.firmware < WATCHDOG_FIRMWARE:
            problems.append(
                f"{motor.label} has firmware {motor.firmware}, at least {WATCHDOG_FIRMWARE} is expected: before "
                "it there is no bus watchdog; update it with DYNAMIXEL Wizard"
            )
        present.append(motor)
    if not present:
        return problems
    problems += await _switch_off_if_on(exchange, present, warnings)
    problems += await _compare(exchange, [m for m in present if m.model.number in NAMES], warnings)
    return problems


async def _switch_off_if_on(exchange: Exchange, motors: Sequence[Motor], warnings: list[str]) -> list[str]:
    torque = await _torque(exchange, motors)
    on = [motor for motor in motors if torque.get(motor.id)]
    warnings += [f"{motor.label} was found with torque on; it was switched off" for motor in on]
    return await rest(exchange, on) if on else []


async def _compare(exchange: Exchange, motors: Sequence[Motor], warnings: list[str]) -> list[str]:
    problems = []
    ids = [motor.id for motor in motors]
    basics = await exchange.read(ids, 0, OPERATING_MODE.address + 1)
    limits = await exchange.read(ids, MAX_POSITION_LIMIT.address, 8)
    health = await exchange.read(ids, STATUS_RETURN_LEVEL.address, 3)
    for motor in motors:
        if not (motor.id in basics and motor.id in limits and motor.id in health):
            problems.append(f"{motor.label} answers a ping, but its registers cannot be read; try again")
            continue
        drive = basics[motor.id][DRIVE_MODE.address]
        if drive & DRIVE_REVERSE:
            problems.append(
                f"{motor.label} turns in reverse (drive mode {drive}); set bit 0 of register {DRIVE_MODE.address} "
                "to 0 and use `sign = -1` in the config instead"
            )
        if drive & DRIVE_SLAVE:
            problems.append(f"{motor.label} is the slave of a dual joint (drive mode {drive}); name its master")
        mode = basics[motor.id][OPERATING_MODE.address]
        motor.extended = mode == MODE_EXTENDED or not fits_one_turn(motor.joint)
        motor.low, motor.high = -EXTENDED_MAX, EXTENDED_MAX
        if not motor.extended:
            motor.high = MAX_POSITION_LIMIT.unpack(limits[motor.id])
            motor.low = MIN_POSITION_LIMIT.unpack(limits[motor.id][4:])
            low, high = motor.range
            if low < motor.low or high > motor.high:
                problems.append(
                    f"{motor.label} needs positions {low} to {high}, its limit registers "
                    f"({MIN_POSITION_LIMIT.address}, {MAX_POSITION_LIMIT.address}) allow {motor.low} to "
                    f"{motor.high}; widen them, or narrow the joint's range in the config"
                )
        if error := health[motor.id][2]:
            warnings.append(f"{motor.label} reports {hardware_errors(error)}; clear its faults before arming")
    return problems


async def configure(exchange: Exchange, motors: Sequence[Motor], watchdog: int, warnings: list[str]) -> list[str]:
    """Write what differs in EEPROM (torque is off), then the RAM set-up; read back what matters."""
    ids = [motor.id for motor in motors]
    basics = await exchange.read(ids, 0, OPERATING_MODE.address + 1)
    startup = await exchange.read(ids, STARTUP.address, 1)  # older firmware refuses: it has no such register
    problems = []
    for motor in motors:
        if motor.id not in basics:
            problems.append(f"{motor.label} stopped answering while it was set up; try again")
            continue
        data = basics[motor.id]
        wanted = {
            RETURN_DELAY: 0,
            DRIVE_MODE: data[DRIVE_MODE.address] & ~DRIVE_TORQUE_ON_BY_GOAL,
            OPERATING_MODE: MODE_EXTENDED if motor.extended else MODE_POSITION,
        }
        changes = {register: value for register, value in wanted.items() if data[register.address] != value}
        boots_with = startup.get(motor.id, b"\0")[0]
        if boots_with & STARTUP_TORQUE_ON:
            changes[STARTUP] = boots_with & ~STARTUP_TORQUE_ON
        for register, value in changes.items():
            wrong = await exchange.set(motor.id, register, value)
            if wrong:
                problems.append(f"{motor.label}: {wrong}")
            elif register is not RETURN_DELAY:
                warnings.append(f"{motor.label}: {register.name} ({register.address}) was set to {value}")
    return problems or await prepare(exchange, motors, watchdog)


async def prepare(exchange: Exchange, motors: Sequence[Motor], watchdog: int) -> list[str]:
    """Write the RAM set-up, which a motor forgets at every restart, and read it back. Torque must be off."""
    problems = []
    for motor in motors:
        motor.watched = False
    exchange.send(_all(motors, STATUS_RETURN_LEVEL, 2))
    for motor in motors:
        wrong = (
            await exchange.write(motor.id, INDIRECT_ADDRESS, block.MAP)
            # A profile would follow the goals with a delay of its own.
            or await exchange.write(motor.id, PROFILE_ACCELERATION.address, bytes(_PROFILE_SIZE))
            or await exchange.set(motor.id, BUS_WATCHDOG, 0)  # a tripped watchdog is only cleared by 0
            or await exchange.set(motor.id, BUS_WATCHDOG, watchdog)
        )
        if wrong:
            problems.append(f"{motor.label} cannot be set up: {wrong}")
    if problems:
        return problems
    states = await read_blocks(exchange, motors)
    for motor in motors:
        state = states.get(motor.id)
        if state is None:
            problems.append(f"{motor.label} stopped answering while it was set up; try again")
        elif state[2] != watchdog:
            problems.append(f"{motor.label}: its bus watchdog reads {state[2]}, {watchdog} was written")
        else:
            motor.watched = True
    return problems


async def energise(
    exchange: Exchange, motors: Sequence[Motor], watchdog: int, cancelled: Callable[[], bool]
) -> list[str]:
    """Set up, goal = measured position, torque on, each confirmed by reading back.

    `cancelled` tells that torque-off was ordered meanwhile. Whoever calls switches off when something is wrong.
    """
    problems = await prepare(exchange, motors, watchdog)
    if problems:
        return problems
    states = await read_blocks(exchange, motors)
    goals: dict[int, int] = {}
    for motor in motors:
        state = states.get(motor.id)
        if state is None:
            problems.append(f"{motor.label} does not answer")
            continue
        goals[motor.id] = goal = state[5]
        if state[1]:
            problems.append(f"{motor.label} reports {hardware_errors(state[1])}; clear its faults first")
        if not motor.low <= goal <= motor.high:
            problems.append(
                f"{motor.label} stands at {goal}, outside {motor.low} to {motor.high} where it takes goals; "
                "turn it back by hand"
            )
    problems = problems or await _set_goals(exchange, motors, goals)
    if cancelled():
        problems.append("torque-off was ordered while the motors were being energised")
    if problems:
        return problems
    for _ in range(TRIES):
        exchange.send(_all(motors, TORQUE_ENABLE, 1))
        states = await read_blocks(exchange, motors)
        if cancelled():
            return ["torque-off was ordered while the motors were being energised"]
        problems = [
            f"{motor.label} did not switch torque on; {_why(states.get(motor.id), watchdog)}"
            for motor in motors
            if motor.id not in states or not states[motor.id][0] or states[motor.id][2] != watchdog
        ]
        if not problems:
            break
    return problems


async def limit_torque(exchange: Exchange, motors: Sequence[Motor], part: float) -> list[str]:
    """Let motors make no more than `part` of their torque: less voltage in the position modes.

    It is forgotten when torque is switched on, so it is for afterwards.
    """
    limits = await exchange.read([motor.id for motor in motors], PWM_LIMIT.address, PWM_LIMIT.size)
    wanted = {ident: int(PWM_LIMIT.unpack(data) * part) for ident, data in limits.items()}
    # With the goal current behind it: two bytes were just read.
    found = await _set_all(exchange, GOAL_PWM, wanted, 4)
    return [
        f"{motor.label} cannot be kept to {part:.0%} of its torque: its {GOAL_PWM.name} ({GOAL_PWM.address}) "
        f"reads {found.get(motor.id)}, {wanted.get(motor.id)} was written"
        for motor in motors
        if motor.id not in wanted or found.get(motor.id) != wanted[motor.id]
    ]


async def _set_goals(exchange: Exchange, motors: Sequence[Motor], goals: dict[int, int]) -> list[str]:
    """Write goals while torque is off; an old goal in a motor would make it jump when torque comes on."""
    # With the realtime tick behind it: four bytes would be the length of another read.
    found = await _set_all(exchange, GOAL_POSITION, goals, 6)
    return [
        f"{motor.label} did not take its own position {goals[motor.id]} as goal: it reads {found.get(motor.id)}"
        for motor in motors
        if found.get(motor.id) != goals[motor.id]
    ]


async def _set_all(exchange: Exchange, register: Register, values: dict[int, int], length: int) -> dict[int, int]:
    """Write a value to each motor's register, and read `length` bytes back from there: what the registers hold."""
    packet = frames.sync_write(
        register.address, [(ident, register.pack(value)) for ident, value in values.items()]
    )
    found: dict[int, int] = {}
    for _ in range(TRIES):
        exchange.send(packet)
        answers = await exchange.read(list(values), register.address, length)
        found = {ident: register.unpack(data) for ident, data in answers.items()}
        if found == values:
            break
    return found


async def rest(exchange: Exchange, motors: Sequence[Motor]) -> list[str]:
    """Torque off, confirmed."""
    torque: dict[int, int] = {}
    unconfirmed = list(motors)
    for _ in range(_REST_TRIES):
        exchange.send(_all(motors, TORQUE_ENABLE, 0))
        torque |= await _torque(exchange, unconfirmed, tries=1)
        unconfirmed = [motor for motor in unconfirmed if torque.get(motor.id) != 0]
        if not unconfirmed:
            break
    return [
        f"{motor.label} " + ("still has torque on" if motor.id in torque else "did not confirm torque off")
        for motor in unconfirmed
    ]


async def clear(exchange: Exchange, motors: Sequence[Motor], watchdog: int, warnings: list[str]) -> list[str]:
    """Restart the motors that have a hardware error, then set all of them up again; torque stays off."""
    problems = await rest(exchange, motors)
    if problems:
        return problems
    health = await exchange.read([motor.id for motor in motors], STATUS_RETURN_LEVEL.address, 3)
    for motor in motors:
        if motor.id in health and not health[motor.id][2]:
            continue
        await exchange.reboot(motor.id)
        if motor.extended:
            warnings.append(f"{motor.label} was restarted and has lost its count of turns; check its position")
        if not await _is_back(exchange, motor):
            problems.append(f"{motor.label} did not come back after a restart; switch its power off and on")
    if problems:
        return problems
    problems = await prepare(exchange, motors, watchdog)
    states = await read_blocks(exchange, motors)
    return problems + [
        f"{motor.label} still reports {hardware_errors(states[motor.id][1])}; remove the cause and try again"
        for motor in motors
        if motor.id in states and states[motor.id][1]
    ]


async def read_blocks(exchange: Exchange, motors: Sequence[Motor]) -> dict[int, tuple[int, ...]]:
    """The block's values of all motors that answer, by id."""
    where = {motor.id: block.address(motor.model) for motor in motors}
    length = block.LENGTHS[0]
    replies = await exchange.ask(
        lambda ids: block.request(ids, [where[ident] for ident in ids], length, fast=False), list(where), length
    )
    return {i: block.VALUES.unpack(reply.params) for i, reply in replies.items() if not reply.number}


async def _torque(exchange: Exchange, motors: Sequence[Motor], tries: int = TRIES) -> dict[int, int]:
    # Two registers, so that the length differs from that of every other read.
    answers = await exchange.read([motor.id for motor in motors], SHUTDOWN.address, 2, tries)
    return {ident: data[1] for ident, data in answers.items()}


async def _is_back(exchange: Exchange, motor: Motor) -> bool:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _REBOOT_TIMEOUT_S
    while loop.time() < deadline:
        await asyncio.sleep(_REBOOT_POLL_S)
        if await exchange.ping(motor.id) is not None:
            return True
    return False


def _why(state: tuple[int, ...] | None, watchdog: int) -> str:
    if state is None:
        return "it does not answer"
    if state[1]:
        return f"it reports {hardware_errors(state[1])}"
    return f"torque enable reads {state[0]}, bus watchdog {state[2]} ({watchdog} was written)"


def _all(motors: Sequence[Motor], register: Register, value: int) -> bytes:
    return frames.sync_write(register.address, [(motor.id, register.pack(value)) for motor in motors])
