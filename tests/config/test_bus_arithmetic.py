"""A rate that a bus cannot carry is refused with the figure; `check` prints how busy each bus will be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from drivers.bus import CycleTime
from runtime.cli.check import check
from runtime.config.config import Config
from runtime.config.rules import highest_rate


def test_a_rate_that_a_bus_cannot_carry_is_refused_with_the_figure(
    mistakes_of: Callable[[dict[str, Any]], list[str]],
) -> None:
    # Two motors, a frame each way of at most 135 bits (protocol sheet, section 0.3): 540 bits at 200 kbit/s.
    (mistake,) = mistakes_of({"bus.can.bitrate": 200_000})
    assert mistake.startswith("bus[0] can: one cycle takes 2.7 ms (2 motors x 2 frames")
    assert mistake.endswith(
        "; at 400 Hz a period is 2.5 ms, of which a bus may fill 90%; highest rate 333 Hz; "
        "lower control.rate or spread the joints over more buses"
    )


@pytest.mark.parametrize(("rate", "good"), [(333.0, True), (334.0, False)])
def test_the_highest_rate_is_one_that_passes(
    rate: float, good: bool, load_with: Callable[..., Config], mistakes_of: Callable[[dict[str, Any]], list[str]]
) -> None:
    overrides = {"bus.can.bitrate": 200_000, "control.rate": rate}
    if good:
        (plan,) = load_with(overrides=overrides).buses
        assert plan.cycle.seconds == pytest.approx(2.7e-3)
        assert highest_rate(plan.cycle) == 333
    else:
        assert "highest rate 333 Hz" in mistakes_of(overrides)[0]


def test_highest_rate_is_rounded_down_and_may_be_low() -> None:
    assert highest_rate(CycleTime(0.0034, "")) == 264
    assert highest_rate(CycleTime(0.7, "")) == 1.2


def test_no_arithmetic_on_joints_that_are_wrong(mistakes_of: Callable[[dict[str, Any]], list[str]]) -> None:
    found = mistakes_of({"bus.can.bitrate": 1000, "joint.knee.kp": "stiff"})
    assert [line.split(":")[0] for line in found] == ["joint[1] knee . kp"]


def test_check_prints_the_buses_and_the_warnings(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "leg.toml"
    assert check(path) == 0
    assert capsys.readouterr() == (
        "leg: 2 joints at 400 Hz, policy at 50 Hz in chunks of 10\n"
        "bus  driver  joints    cycle  load  highest rate\n"
        "can  damiao       2  0.54 ms   22%       1666 Hz\n"
        "warning: safety.run_without_estop is true: motors are energised and no e-stop can stop them\n"
        f"{path}: good\n",
        "",
    )


def test_check_prints_the_mistakes_and_fails(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "leg.toml"
    path.write_text(path.read_text().replace('name = "leg"', 'name = "a leg"').replace("rate = 400.0", "rate = 0"))
    assert check(path) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.rpartition(f"{path}: ")[2].split(":")[0] for line in err.splitlines()] == [
        "robot.name",
        "control.rate",
        "2 mistakes",
    ]
