"""`pytest tests/rig --target bench.toml` moves a real robot only when the file says that it can hurt nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.harness.bench import load

GOOD = """
robot = "root@robot.local"
board = "root@board.local"
nobody_is_near = true
torque_is_limited = true

[lines]
chip = "/dev/gpiochip0"
estop = 5
estop_second = 6
reset = 13
drive_enable = 19
heartbeat = 26

[ports]
arm = "/dev/ttyUSB0"
leg = "can0"
"""


def test_a_bench_that_is_safe_is_used(tmp_path: Path) -> None:
    file = tmp_path / "bench.toml"
    file.write_text(GOOD)
    bench = load(file)
    assert (bench.robot, bench.board) == ("root@robot.local", "root@board.local")
    assert bench.lines.heartbeat == 26
    assert bench.ports == {"arm": "/dev/ttyUSB0", "leg": "can0"}


@pytest.mark.parametrize("key", ["nobody_is_near", "torque_is_limited"])
@pytest.mark.parametrize("value", [None, "false", '"yes"', "1"])
def test_a_bench_that_does_not_say_that_it_is_safe_is_not_used(
    tmp_path: Path, key: str, value: str | None
) -> None:
    file = tmp_path / "bench.toml"
    file.write_text(GOOD.replace(f"{key} = true\n", "" if value is None else f"{key} = {value}\n"))
    with pytest.raises(pytest.UsageError, match=f"bench.toml: the bench is not used: {key}: found"):
        load(file)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bench.toml"
    wrong = GOOD.replace("board =", "bord =").replace('"root@robot.local"', "7").replace("reset = 13\n", "")
    file.write_text(wrong)
    with pytest.raises(pytest.UsageError) as told:
        load(file)
    for mistake in (
        "bord: found an unknown key",
        "robot: found 7, ",
        "board: found nothing",
        "lines.reset: found",
    ):
        assert mistake in str(told.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")
