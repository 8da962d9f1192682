"""Two things fail at once, with the real processes: whatever the second one takes away, the robot ends stopped."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.cli.processes import DaemonProcess
from runtime.link.errors import Refused

pytestmark = pytest.mark.system

SECOND = 'safety.estop_second={type="emulated",path="{run}/gpio.sock",line="estop_second"}'
FEEDBACK = 'safety.drive_feedback={type="emulated",path="{run}/gpio.sock",line="drive_feedback"}'
FAULTY = Path(__file__).parents[1] / "rig/guest/faulty_daemon.py"
DYNAMIXEL, DAMIAO = ("j0", "j1"), ("j2", "j3")


@pytest.fixture
def make_blocking(
    make_rig: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """A rig whose loop blocks for two seconds when it is told to."""
    fault = tmp_path / "fault"
    fault.write_text("2")
    monkeypatch.setenv("FAULT", str(fault))

    def make(*settings: str) -> Any:
        rig = make_rig(*settings, program=[str(FAULTY)])
        rig.block = lambda: rig.daemon.kill(signal.SIGUSR1)
        return rig

    return make


def power(rig: Any) -> bool:
    """Whether motor power flows."""
    return bool(rig.emulator.ask("state")["power"])


def causes(rig: Any) -> set[str]:
    """What has cut power so far."""
    return {
        cause
        for event in rig.told()
        if event["name"] == "safety.torque_off"
        for cause in event["fields"]["causes"]
    }


def stands(rig: Any) -> bool:
    """No joint moves, and it was not the turning point of a swing."""
    return not any(rig.moving()) and not any(rig.moving())


def limp(rig: Any, *joints: str) -> bool:
    """Whether these joints have no torque."""
    state = rig.emulator.ask("state")["joints"]
    return all(state[joint]["torque"] == 0.0 for joint in joints)


def refused_reset(rig: Any) -> str:
    with pytest.raises(Refused) as refusal:
        rig.daemon.request("reset")
    return str(refusal.value.reasons)


def test_estop_wire_shorted_and_loop_stalled(make_blocking: Callable[..., Any]) -> None:
    rig = make_blocking(SECOND)
    rig.run_policy()
    rig.block()
    rig.wait(lambda: not power(rig), what="the stall cuts power, although nobody is seen to press")
    rig.emulator.ask("press", pressed=True, channels=["estop_second"])  # the other contact is shorted
    rig.wait(lambda: rig.status()["estop"] == "pressed", what="the press is seen on the other channel")
    rig.wait(lambda: causes(rig) >= {"stall", "estop", "estop_channels"}, what="all three are found")
    rig.wait(lambda: stands(rig), what="the robot stands")
    rig.emulator.ask("press", pressed=False)
    rig.wait(lambda: rig.status()["estop"] == "released", what="the release is seen")
    assert "press and release it" in refused_reset(rig)
    assert not power(rig)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
def test_daemon_gone_and_contactor_welded(rig: Any, number: signal.Signals) -> None:
    rig.run_policy()
    rig.emulator.ask("contactor", kind="welded")
    rig.daemon.kill(number)
    rig.wait(lambda: limp(rig, *DAMIAO), what="these motors switch off by their own watchdogs")
    rig.wait(lambda: stands(rig), what="the others stop by theirs")
    assert power(rig), "nothing else has stopped them"


def test_loop_stalled_and_contactor_welded(make_blocking: Callable[..., Any]) -> None:
    rig = make_blocking(FEEDBACK)
    rig.run_policy()
    rig.emulator.ask("contactor", kind="welded")
    rig.block()
    rig.wait(lambda: causes(rig) >= {"stall", "feedback"}, what="both are found")
    rig.wait(lambda: limp(rig, *DYNAMIXEL, *DAMIAO), what="the motors were switched off through their buses")
    rig.wait(lambda: stands(rig), what="the robot stands")
    assert power(rig)
    assert "it is welded" in refused_reset(rig)


def test_loop_stalled_and_every_bus_cut(make_blocking: Callable[..., Any]) -> None:
    rig = make_blocking()
    rig.run_policy()
    rig.block()
    for bus in ("b0", "b1"):
        rig.emulator.ask("link", bus=bus, loss=1.0)
    rig.wait(lambda: not power(rig), what="drive-enable falls")
    rig.wait(lambda: stands(rig), what="the robot stands")
    assert "stall" in causes(rig)


def test_estop_pressed_and_adapter_unplugged(rig: Any) -> None:
    rig.run_policy()
    rig.emulator.ask("plug", bus="b0", plugged=False)
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: not power(rig), what="drive-enable falls")
    rig.wait(lambda: rig.status()["mode"] in ("ESTOP", "FAULT"), what="latched")
    rig.wait(lambda: stands(rig), what="the robot stands")
    assert "pressed" in refused_reset(rig)


def test_estop_pressed_and_contactor_welded_and_every_bus_cut(rig: Any) -> None:
    rig.run_policy()
    rig.emulator.ask("contactor", kind="welded")
    for bus in ("b0", "b1"):
        rig.emulator.ask("link", bus=bus, loss=1.0)
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")
    rig.wait(lambda: limp(rig, *DAMIAO), what="these motors switch off by their own watchdogs")
    rig.wait(lambda: stands(rig), what="the others stop by theirs")
    assert power(rig), "nothing else has stopped them"


def test_one_bus_cut_stops_the_other_as_well(rig: Any) -> None:
    rig.run_policy()
    rig.emulator.ask("link", bus="b1", loss=1.0)
    rig.wait(lambda: rig.status()["mode"] == "FAULT", what="mode FAULT")
    rig.wait(lambda: not power(rig), what="drive-enable falls")
    rig.wait(lambda: stands(rig), what="all joints stand")


def test_the_motors_supply_fails_and_comes_back(rig: Any) -> None:
    rig.run_policy()
    for joint in ("j0", "j1", "j2", "j3"):
        rig.emulator.ask("fault", joint=joint, kind="brown_out")
    rig.wait(lambda: rig.status()["mode"] == "FAULT", what="mode FAULT")
    rig.wait(lambda: stands(rig), what="the robot hangs still")
    for joint in ("j0", "j1", "j2", "j3"):
        rig.emulator.ask("fault", joint=joint, kind="clear")
    assert stands(rig), "power that is back moves nothing"
    assert rig.status()["mode"] == "FAULT"


@pytest.mark.parametrize("pressed", [False, True])
def test_frozen_daemon_that_goes_on_moves_nothing(rig: Any, pressed: bool) -> None:
    rig.run_policy()
    rig.daemon.kill(signal.SIGSTOP)
    rig.wait(lambda: stands(rig), what="every motor stops by its own watchdog")
    rig.emulator.ask("press", pressed=pressed)
    rig.daemon.kill(signal.SIGCONT)
    rig.wait(lambda: not power(rig), what="drive-enable falls")
    rig.wait(lambda: rig.status()["mode"] == ("ESTOP" if pressed else "FAULT"), what="latched")
    rig.wait(lambda: stands(rig), what="the robot stands")
    assert ("estop" if pressed else "stall") in causes(rig)


def disk_gone(pid: int, folder: Path) -> str:
    """The folder of the recordings goes. Returns what the recorder will say."""
    folder.rename(folder.with_name("gone"))
    folder.write_text("in the way")
    return str(folder)


def disk_full(pid: int, folder: Path) -> str:
    """Files take no more from this process, its log included, and from its next children."""
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    return os.strerror(errno.EFBIG)


@pytest.mark.parametrize("trouble", [disk_gone, disk_full])
def test_recorder_dead_and_its_disk_in_trouble(rig: Any, trouble: Callable[[int, Path], str]) -> None:
    rig.run_policy()
    folder = Path(rig.wait(lambda: rig.status()["recording"]["path"], what="it is recorded")).parent.parent
    reason = trouble(rig.daemon.process.pid, folder)
    os.kill(child(rig.daemon.process.pid, "reflexd-record"), signal.SIGKILL)
    rig.wait(lambda: reason in (rig.status()["recording"]["failed"] or ""), what="no other one can record")
    assert rig.status()["mode"] == "AUTO"
    assert all(rig.moving())
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: not power(rig), what="drive-enable falls")
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")


def test_daemon_dead_and_estop_pressed(rig: Any) -> None:
    rig.run_policy()
    rig.daemon.kill()
    rig.daemon.process.wait(20)
    rig.emulator.ask("press", pressed=True)
    with DaemonProcess(rig.config) as another:
        for op in ("reset", "arm"):
            with pytest.raises(Refused) as refusal:
                another.request(op)
            assert refusal.value.reasons
        assert another.request("status")["stop"]["reasons"] == ["the e-stop is pressed"]
        assert not power(rig)
        rig.wait(lambda: stands(rig), what="the robot stands")


def test_worker_dead_and_estop_pressed(rig: Any) -> None:
    rig.run_policy()
    os.kill(rig.status()["policy"]["pid"], signal.SIGKILL)
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: not power(rig), what="drive-enable falls")
    rig.wait(lambda: rig.status()["policy"]["restarts"] >= 1, what="the worker is restarted")
    rig.wait(lambda: rig.status()["policy"]["state"] == "ready", what="the policy is ready again")
    rig.wait(lambda: stands(rig), what="a policy that is back moves nothing")
    assert rig.status()["mode"] == "ESTOP"


def test_worker_hung_and_motor_dead(rig: Any) -> None:
    rig.run_policy()
    os.kill(rig.status()["policy"]["pid"], signal.SIGSTOP)
    rig.emulator.ask("fault", joint="j2", kind="dead")
    rig.wait(lambda: rig.status()["mode"] == "FAULT", what="mode FAULT")
    rig.wait(lambda: stands(rig), what="all others stand too")


def child(pid: int, name: str) -> int:
    """The child of a process that calls itself so."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for number in (task / "children").read_text().split():
            if Path(f"/proc/{number}/comm").read_text().strip() == name:
                return int(number)
    raise AssertionError(f"process {pid} has no child {name}")
