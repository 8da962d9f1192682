"""The rig on a bench, both of whose computers are this machine: lines and motors at the ends of cables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import pytest

from tests.rig.harness import target
from tests.rig.harness.agent import Done
from tests.rig.harness.bench import load
from tests.rig.harness.rig import UNIT, Rig
from tests.rig.harness.target import BenchTarget, VirtualTarget

pytestmark = [pytest.mark.virtual, pytest.mark.long(1)]
BENCH = """
robot = "robot"
board = "board"
nobody_is_near = true
torque_is_limited = true

[lines]
chip = "/dev/{chip}"
estop = 0
estop_second = 1
reset = 2
drive_enable = 3
heartbeat = 4

[ports]
arm = "/run/rig/cable"
leg = "vcan0"
"""
BANK = "/sys/kernel/config/gpio-sim/board"
CABLES = f"""
systemctl stop {UNIT} rig-board reflexd-emulator@rig
. /opt/rig/guest/chip.sh
chip board estop estop_second reset drive_enable heartbeat
udevadm settle
lines=/sys/devices/platform/$(cat {BANK}/dev_name)/$(cat {BANK}/bank0/chip_name)
systemd-run --quiet --unit rig-cables -p CPUSchedulingPolicy=rr -p CPUSchedulingPriority=86 \\
    python3 -u /opt/rig/guest/cables.py $lines /run/reflexd/rig/adapter /run/rig/cable
"""


@contextmanager
def bench_of(rig: Rig) -> Iterator[BenchTarget]:
    """This machine as both computers of a bench; only ssh is not what it would be."""
    agent = cast(VirtualTarget, rig.target).qemu.agent

    def ssh(host: str, words: list[str], timeout_s: float, stdin: bytes = b"") -> Done:
        return agent.run(words, None, timeout_s, stdin)

    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "_ssh", ssh)
        path = Path(folder, "bench.toml")
        path.write_text(BENCH.format(chip=rig.sh(f"cat {BANK}/bank0/chip_name").strip()))
        yield BenchTarget(load(path))


def set_up(rig: Rig) -> None:
    """Lines and motors at the ends of cables."""
    rig.sh(CABLES)
    with bench_of(rig) as bench:
        bench.set_up()
    rig.sh(f"systemctl start {UNIT}", 90.0)


@pytest.mark.prepared(how=set_up)
def test_second_board(rig: Rig) -> None:
    machine = rig.target
    with bench_of(rig) as bench:
        rig.target = bench
        try:
            run_and_press(rig)
        finally:
            rig.target = machine


def run_and_press(rig: Rig) -> None:
    assert rig.status()["estop"] == "pressed", "nobody holds the contacts yet"
    rig.release()
    rig.wait(lambda: rig.status()["estop"] == "released", what="the release is seen")
    rig.reset()
    rig.run_policy()
    assert rig.drive_enable()
    found = rig.board("react")
    assert found["before"] == 1
    assert found["us"] is not None, "drive-enable did not fall"
    rig.wait(lambda: rig.mode() == "ESTOP", what="mode ESTOP")
    rig.wait(lambda: rig.torques() == [0.0] * 4, what="the played motors have no power")
    rig.release()
    rig.reset()
