from __future__ import annotations

import itertools

import pytest

from runtime.control.modes import ENERGISED, LATCHED, Mode, ModeError, ModeMachine

REQUESTS = ("connected", "arm", "start", "move", "reset")
ALLOWED = {
    (Mode.OFF, "connected"): Mode.STANDBY,
    (Mode.STANDBY, "arm"): Mode.HOLD,
    (Mode.HOLD, "start"): Mode.AUTO,
    (Mode.MANUAL, "start"): Mode.AUTO,
    (Mode.HOLD, "move"): Mode.MANUAL,
    (Mode.MANUAL, "move"): Mode.MANUAL,
    (Mode.ESTOP, "reset"): Mode.STANDBY,
    (Mode.FAULT, "reset"): Mode.STANDBY,
}


@pytest.mark.parametrize(("mode", "request_name"), list(itertools.product(Mode, REQUESTS)))
def test_every_request_in_every_mode(mode: Mode, request_name: str) -> None:
    machine = ModeMachine()
    machine.mode = mode
    target = ALLOWED.get((mode, request_name))
    if target is None:
        with pytest.raises(ModeError, match=mode.name):
            machine.request(request_name)
        assert machine.mode == mode, "a refused request changes nothing"
    else:
        machine.request(request_name)
        assert machine.mode == target


@pytest.mark.parametrize(("mode", "then"), list(itertools.product(Mode, (Mode.HOLD, Mode.STANDBY, Mode.FAULT))))
def test_stop_in_every_mode(mode: Mode, then: Mode) -> None:
    machine = ModeMachine()
    machine.mode = mode
    machine.stop(then)
    if mode in ENERGISED:
        assert machine.mode == Mode.STOPPING
        assert machine.at_rest() == then or mode == Mode.STOPPING
    elif mode == Mode.STANDBY and then == Mode.FAULT:
        assert machine.mode == Mode.FAULT
    else:
        assert machine.mode == mode


def test_a_stop_under_way_is_only_ever_raised() -> None:
    order = (Mode.HOLD, Mode.STANDBY, Mode.FAULT)
    for first, second in itertools.product(order, order):
        machine = ModeMachine()
        machine.mode = Mode.AUTO
        machine.stop(first)
        machine.stop(second)
        assert machine.at_rest() == max(first, second, key=order.index)


def test_nothing_but_reset_leaves_a_latch() -> None:
    for mode in LATCHED:
        machine = ModeMachine()
        machine.mode = mode
        machine.stop(Mode.HOLD)
        machine.at_rest()
        machine.cut(Mode.FAULT)
        assert machine.mode == mode
    machine = ModeMachine()
    machine.mode = Mode.FAULT
    machine.cut(Mode.ESTOP)
    assert machine.mode == Mode.ESTOP, "an e-stop outranks a fault"
