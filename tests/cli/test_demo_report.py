from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.cli import report
from runtime.cli.overrides import parse_overrides


def run(inline: bool, in_bin: int) -> dict[str, Any]:
    durations = {"p50": 30.0, "p99": 90.0, "max": 400.0}
    return {
        "robot": "arm",
        "inline": inline,
        "latency_s": 0.2,
        "memory_mb": 60.2,
        "task": {"in_bin": in_bin, "missed": 10 - in_bin, "total": 10, "success": in_bin >= 9},
        "status": {
            "rate_hz": 100.0,
            "rate_measured_hz": 99.98,
            "missed_deadlines": 0,
            "starved_ticks": 0,
            "seam_step_max_rad": 0.105,
            "limits": {"position": 0, "velocity": 1, "acceleration": 2},
            "lateness_us": durations,
            "cost_us": durations,
            "policy": {"seam": {"before_max_rad": 0.2}, "chunks": 150, "useless_chunks": 0, "failures": {}},
            "buses": [{"lost": 1, "late": 2, "corrupt": 3}],
        },
    }


def test_the_report_stands_beside_the_last_one_of_the_other_kind(tmp_path: Path) -> None:
    mine, other = run(False, 10), run(True, 2)
    assert report.exchange(tmp_path, mine) is None, "nothing to compare with yet"
    assert report.exchange(tmp_path, other) == mine
    assert report.exchange(tmp_path, mine) == other
    lines = report.text(mine, other).splitlines()
    assert [line.split() for line in lines if "objects" in line] == [
        ["objects", "in", "the", "bin", "10", "of", "10", "2", "of", "10"]
    ]
    assert next(line for line in lines if line.startswith("task")).split() == ["task", "succeeded", "failed"]


def test_a_result_that_cannot_be_read_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "arm-inline.json").write_text("{")
    assert report.exchange(tmp_path, run(False, 9)) is None


def test_overrides_are_toml_values() -> None:
    assert parse_overrides(["policy.latency=0.1", 'robot.name="x"', "realtime.cpus=[1, 2]"]) == {
        "policy.latency": 0.1,
        "robot.name": "x",
        "realtime.cpus": [1, 2],
    }


@pytest.mark.parametrize("pair", ["policy.latency", "robot.name=arm one"])
def test_anything_else_is_wrong_usage(pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        parse_overrides([pair])
    assert exit_.value.code == 2
    assert pair in capsys.readouterr().err
