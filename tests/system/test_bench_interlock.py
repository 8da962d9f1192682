"""`pytest tests/rig --target bench.toml` moves a real robot only when the file says that it can hurt nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.harness.bench import BenchConfig, load

GOOD = """
robot = "root@robot.local"
board = "root@board.local"
nobody_is_near = true
torque_is_limited = true
"""


def test_a_bench_that_is_safe_is_used(tmp_path: Path) -> None:
    file = tmp_path / "bench.toml"
    file.write_text(GOOD)
    assert load(file) == BenchConfig("root@robot.local", "root@board.local")


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
    file.write_text(GOOD.replace("board", "bord").replace('"root@robot.local"', "7"))
    with pytest.raises(
        pytest.UsageError, match="unknown key bord; robot: found 7, expected text; board: found None"
    ):
        load(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")
