from __future__ import annotations

import itertools

import pytest

from runtime.control.modes import LATCHED, Mode, ModeError, ModeMachine

REQUESTS = ("connected", "arm", "start", "move", "reset", "release")
ALLOWED = {
    (Mode.OFF, "connected"): Mode.STANDBY,
    (Mode.STANDBY, "arm"): Mode.HOLD,
    (Mode.HOLD, "start"): Mode.AUTO,
    (Mode.MANUAL, "start"): Mode.AUTO,
    (Mode.HOLD, "move"): Mode.MANUAL,
    (Mode.MANUAL, "move"): Mode.MANUAL,
    (Mode.ESTOP, "reset"): Mode.STANDBY,
    (Mode.FAULT, "reset"): Mode.STANDBY,
    (Mode.HELD, "release"): Mode.HOLD,
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


ENDS = (Mode.HOLD, Mode.HELD, Mode.STANDBY, Mode.FAULT)
OFF, LATCH = {Mode.STANDBY, Mode.FAULT}, {Mode.HELD, Mode.FAULT}


def every_state() -> list[ModeMachine]:
    """Every mode, and STOPPING with each of its ends."""
    machines = []
    for mode, after in itertools.product(Mode, (*ENDS, Mode.RETURNING)):
        if mode == Mode.STOPPING or after == Mode.HOLD:
            machine = ModeMachine()
            machine.mode, machine.after_stop = mode, after
            machines.append(machine)
    return machines


@pytest.mark.parametrize("then", ENDS)
def test_a_stop_in_every_state_is_only_ever_raised(then: Mode) -> None:
    for machine in every_state():
        before, energised = machine.mode, machine.energised
        already = machine.after_stop if before == Mode.STOPPING else before
        changed = machine.stop(then)
        if not energised:
            assert not changed
            assert machine.mode == before
            continue
        assert machine.energised
        assert changed == (
            machine.mode == Mode.STOPPING and (before != Mode.STOPPING or machine.after_stop != already)
        )
        end = machine.at_rest()
        assert (end in OFF) == (then in OFF or already in OFF)
        assert (end in LATCH) == (then in LATCH or already in LATCH)
        assert machine.energised == (end not in OFF)


def test_only_a_run_goes_back_and_then_holds() -> None:
    for machine in every_state():
        mode, after = machine.mode, machine.after_stop
        machine.go_back()
        if mode != Mode.AUTO:
            assert (machine.mode, machine.after_stop) == (mode, after)
            continue
        assert machine.mode == Mode.STOPPING
        assert machine.at_rest() == Mode.RETURNING
        assert machine.energised
        assert machine.at_rest() == Mode.HOLD


def test_a_robot_that_stands_as_it_is_told_to_is_left_alone() -> None:
    for mode, then in ((Mode.HOLD, Mode.HOLD), (Mode.HELD, Mode.HOLD), (Mode.HELD, Mode.HELD)):
        machine = ModeMachine()
        machine.mode = mode
        assert not machine.stop(then)
        assert machine.mode == mode


@pytest.mark.parametrize("then", sorted(LATCHED - {Mode.HELD}))
def test_a_cut_in_every_state(then: Mode) -> None:
    for machine in every_state():
        before = machine.mode
        machine.cut(then)
        assert machine.mode == (before if before in (Mode.OFF, Mode.ESTOP) else then), "an e-stop outranks a fault"
        assert not machine.energised


def test_nothing_but_its_request_leaves_a_latch() -> None:
    for mode, request in ((Mode.ESTOP, "reset"), (Mode.FAULT, "reset"), (Mode.HELD, "release")):
        for other in set(REQUESTS) - {request}:
            machine = ModeMachine()
            machine.mode = mode
            with pytest.raises(ModeError):
                machine.request(other)
            for then in ENDS:
                machine.stop(then)
                machine.at_rest()
                assert machine.mode in LATCHED
            machine.cut(Mode.FAULT)
            assert machine.mode in LATCHED


def test_the_modes_have_the_numbers_of_old_recordings() -> None:
    assert [mode.name for mode in Mode] == [
        "OFF",
        "STANDBY",
        "HOLD",
        "AUTO",
        "MANUAL",
        "STOPPING",
        "ESTOP",
        "FAULT",
        "HELD",
        "RETURNING",
    ]
