"""What watches the daemon from outside: the hardware watchdog and the heartbeat line, with the real processes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system

HEARTBEAT = 'safety.heartbeat={type="emulated",path="{run}/gpio.sock",line="heartbeat"}'


@pytest.fixture
def watched(make_rig: Callable[..., Any], tmp_path: Path) -> Any:
    """A rig whose daemon has a hardware watchdog of 1 s; `notes()` are the calls."""
    rig = make_rig(
        f'safety.watchdog={{device="{tmp_path / "watchdog"}",timeout=1}}',
        program=["-m", "tests.system.noting_daemon"],
    )
    rig.notes = lambda: (tmp_path / "watchdog").read_text().split()
    return rig


def test_it_is_fed_while_the_robot_moves_and_disarmed_by_a_clean_stop(watched: Any) -> None:
    watched.run_policy()
    fed = watched.notes().count("feed")
    watched.wait(lambda: watched.notes().count("feed") > fed + 3, what="it is fed")
    assert "V" not in watched.notes()
    watched.daemon.close()
    assert watched.daemon.process.returncode == 0, watched.daemon.log_tail()
    assert watched.notes()[-2:] == ["V", "close"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_a_daemon_that_dies_leaves_it_armed(watched: Any, number: signal.Signals) -> None:
    watched.daemon.request("arm")
    watched.daemon.kill(number)
    watched.daemon.process.wait(20)
    assert watched.notes()[-1] == "feed"


def test_a_daemon_that_is_frozen_does_not_feed(watched: Any) -> None:
    watched.wait(lambda: watched.notes().count("feed") > 2, what="it is fed")
    watched.daemon.kill(signal.SIGSTOP)
    still = [watched.notes()]
    watched.wait(lambda: _same_for(still, watched.notes(), 30), what="it is fed no more")


def test_a_defect_leaves_it_armed(watched: Any) -> None:
    watched.daemon.request("arm")
    watched.daemon.request("move", joints={"j0": 0.5})
    assert watched.daemon.process.wait(20) != 0
    assert "V" not in watched.notes()


def test_a_motor_that_does_not_confirm_is_without_power_when_drive_enable_is_off(watched: Any) -> None:
    watched.run_policy()
    watched.emulator.ask("fault", joint="j0", kind="dead")
    watched.wait(lambda: "robot.not_off" in watched.events(), what="it has not confirmed")
    watched.daemon.close()
    assert watched.notes()[-2:] == ["V", "close"]


def test_motors_that_nobody_knows_to_be_off_leave_it_armed(watched: Any) -> None:
    watched.run_policy()
    watched.emulator.process.kill()
    watched.wait(lambda: "robot.not_off" in watched.events(), what="nobody has confirmed")
    watched.daemon.close()
    assert watched.notes()[-1] == "close"
    assert "V" not in watched.notes()


def test_the_heartbeat_beats_in_standby_and_stops_with_the_process(make_rig: Callable[..., Any]) -> None:
    rig = make_rig(HEARTBEAT)

    def edges() -> int:
        return int(rig.emulator.ask("state")["heartbeat_edges"])

    for _ in range(2):
        before = edges()
        rig.wait(lambda before=before: edges() > before + 4, what="it beats")
        rig.daemon.kill(signal.SIGSTOP)
        still = [edges()]
        rig.wait(lambda still=still: _same_for(still, edges(), 30), what="it has stopped")
        rig.daemon.kill(signal.SIGCONT)


def _same_for(seen: list[Any], now: Any, times: int) -> bool:
    """Whether the last `times` values are the same as `now`, which is added."""
    seen.append(now)
    return len(seen) > times and all(value == now for value in seen[-times:])
