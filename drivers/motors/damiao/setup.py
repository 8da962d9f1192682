"""Finding, checking, setting up, energising and resting the motors of a bus.

Each step is done for many motors at once, and returns what is wrong with each instead of raising: the bus tells
everything together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from drivers.motors.damiao.exchange import Exchange, is_feedback
from drivers.motors.damiao.frames import (
    CTRL_MODE,
    ENABLED,
    FAULTS,
    MODE_MIT,
    MST_ID,
    PMAX,
    SW_VER,
    TIMEOUT,
    TIMEOUT_UNIT_S,
    TMAX,
    VMAX,
)
from drivers.motors.damiao.limits import MODELS, Limits
from drivers.motors.damiao.motor import Motor

Problems = dict[Motor, list[str]]

NO_ANSWER = "no answer; check power, wiring, termination, bit rate and id"


class Setup:
    """The steps that `connect`, `enable`, `disable` and `clear_faults` of a bus are made of."""

    def __init__(self, exchange: Exchange, watchdog_s: float) -> None:
        self._exchange = exchange
        self._watchdog_s = watchdog_s
        self.notes: list[str] = []
        """What was found and is fine."""
        self.warnings: list[str] = []
        """What was found and was put right."""
        self.present: list[Motor] = []
        """Motors that `find` has found, whatever is wrong with them."""

    async def find(self, motors: Collection[Motor]) -> Problems:
        """Compare every motor with the config, without commanding it. Takes over its full scales."""
        ask = self._exchange.parameters
        pmax = await ask(PMAX, motors)
        vmax = await ask(VMAX, pmax)
        tmax = await ask(TMAX, vmax)
        reply_ids = await ask(MST_ID, tmax)
        versions = await ask(SW_VER, reply_ids)
        self.present = list(pmax)
        problems: Problems = {}
        for motor in motors:
            if motor not in pmax:
                problems[motor] = [self._missing(motor)]
            elif motor not in versions:
                problems[motor] = ["answered some questions only; check wiring and termination"]
            else:
                found = Limits(pmax[motor], vmax[motor], tmax[motor])
                wrong = _compare_limits(motor, found) + _compare_id(motor, int(reply_ids[motor]))
                if wrong:
                    problems[motor] = wrong
                self.notes.append(f"joint {motor.name}: {motor.joint.model}, firmware {int(versions[motor])}")
        return problems

    async def rest(self, motors: Collection[Motor]) -> Problems:
        """Make sure that every motor is off, whatever it did before."""
        found = await self._exchange.feedback({motor: motor.refresh for motor in motors})
        awake = [motor for motor, data in found.items() if data[0] >> 4 == ENABLED]
        for motor in awake:
            self.warnings.append(f"joint {motor.name}: its motor was found energised and has been switched off")
        return _silent(motors, found) | await self.switch_off(awake)

    async def switch_off(self, motors: Collection[Motor]) -> Problems:
        """Torque off, confirmed."""

        def off(motor: Motor, data: bytes) -> bool | None:
            # With a latched error a motor is off as well.
            return (is_feedback(motor, data) and data[0] >> 4 != ENABLED) or None

        confirmed = await self._exchange.ask({motor: motor.disable for motor in motors}, off)
        text = "torque off was not confirmed; if it still holds, cut its power"
        return {motor: [text] for motor in motors if motor not in confirmed}

    async def prepare(self, motors: Collection[Motor]) -> Problems:
        """MIT mode and the motor's own watchdog, in RAM: lost with every restart of the motor."""
        for motor in motors:
            motor.watched = False
        ask = self._exchange.parameters
        modes = await ask(CTRL_MODE, motors)
        other = [motor for motor, mode in modes.items() if mode != MODE_MIT]
        for motor in other:
            self.notes.append(f"joint {motor.name}: CTRL_MODE was {int(modes[motor])}, now {MODE_MIT} (MIT)")
        await ask(CTRL_MODE, other, MODE_MIT)
        modes |= await ask(CTRL_MODE, other)
        units = round(self._watchdog_s / TIMEOUT_UNIT_S)
        await ask(TIMEOUT, modes, units)
        watchdogs = await ask(TIMEOUT, modes)
        await self._exchange.settle()
        problems = _silent(motors, watchdogs)
        for motor, found in watchdogs.items():
            motor.watched = found == units
            if modes[motor] != MODE_MIT:
                problems.setdefault(motor, []).append(
                    f"CTRL_MODE (parameter 10) stays {int(modes[motor])} after writing {MODE_MIT} (MIT); set it "
                    "with the maker's tool"
                )
            if found != units:
                problems.setdefault(motor, []).append(
                    f"TIMEOUT (parameter 9, its watchdog) is {int(found)} after writing {units} "
                    f"({self._watchdog_s:g} s); it would not stop by itself"
                )
        return problems

    async def clear(self, motors: Collection[Motor]) -> Problems:
        """Clear latched errors."""
        await self._exchange.feedback({motor: motor.clear for motor in motors})
        # The answer to the request may still show the error, as may a late one to an older: the next one tells.
        await self._exchange.settle()
        found = await self._exchange.feedback({motor: motor.refresh for motor in motors})
        problems = _silent(motors, found)
        for motor, data in found.items():
            if data[0] >> 4 in FAULTS:
                problems[motor] = [f"still reports {FAULTS[data[0] >> 4]}; remove the cause and try again"]
        return problems

    async def energise(
        self, motors: Collection[Motor], allowed: Callable[[], bool]
    ) -> tuple[Problems, dict[Motor, bytes]]:
        """Torque on, holding where each motor stands; also the last feedback of each (eight data bytes).

        `allowed` is asked before each step; when it says no, the rest is left undone.
        """
        exchange = self._exchange
        # A motor might keep the last command from when it was energised before.
        found = await exchange.feedback({motor: motor.relax() for motor in motors})
        problems = _silent(motors, found)
        for motor, data in found.items():
            if data[0] >> 4 in FAULTS:
                problems[motor] = [f"reports {FAULTS[data[0] >> 4]}; clear its faults first"]
        if problems or not allowed():
            return problems, {}

        def energised(motor: Motor, data: bytes) -> bytes | None:
            return data if is_feedback(motor, data) and data[0] >> 4 == ENABLED else None

        # While some motors have not answered yet, holding feeds the watchdogs of those that have.
        first = await exchange.ask({motor: motor.enable for motor in motors}, energised, Motor.hold)
        held: dict[Motor, bytes] = {}
        if len(first) == len(motors) and allowed():
            holds = {motor: motor.hold(data) for motor, data in first.items()}
            held = await exchange.ask(holds, energised, Motor.hold)
        for motor in motors:
            if motor not in first:
                problems[motor] = ["torque on was not confirmed"]
            elif len(first) == len(motors) and motor not in held and allowed():
                problems[motor] = ["torque on was confirmed, but did not last; check its supply"]
        return problems, held

    def _missing(self, motor: Motor) -> str:
        elsewhere = self._exchange.elsewhere.get(motor)
        if elsewhere is None:
            return NO_ANSWER
        return (
            f"answers on id {elsewhere:#x}, expected {motor.reply_id:#x}; set its MST_ID (parameter 7) to "
            f"{motor.reply_id:#x} with the maker's tool, or change reply_offset"
        )


def _silent(motors: Iterable[Motor], answered: Collection[Motor]) -> Problems:
    return {motor: [NO_ANSWER] for motor in motors if motor not in answered}


def _compare_limits(motor: Motor, found: Limits) -> list[str]:
    known = MODELS[motor.joint.model]
    for limits in known:
        if limits.matches(found):
            motor.limits = limits
            return []
    expected = " or ".join(str(limits) for limits in known)
    return [
        f"the motor says {found}; a {motor.joint.model} has {expected}; correct `model`, or set the motor's "
        "parameters 21 to 23 with the maker's tool"
    ]


def _compare_id(motor: Motor, found: int) -> list[str]:
    if found == motor.reply_id:
        return []
    return [
        f"MST_ID (parameter 7) is {found:#x}, expected {motor.reply_id:#x}; set it with the maker's tool, or "
        "change reply_offset"
    ]
