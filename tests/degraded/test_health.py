"""Failed attempts and joints' faults: counted, kept over a restart, and taken back by a person only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runtime.config.degraded import Degraded
from runtime.degraded.health import HOUR_NS, Health
from runtime.events import Events


class Bench:
    """A daemon after another, with one file and a clock that goes when it is told to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now_ns = 1_700_000_000_000_000_000
        self.restart()

    def restart(self) -> None:
        self.events = Events()
        self.it = Health(Degraded(), self.path, self.events, wall=lambda: self.now_ns)
        self.it.begin()

    def told(self, name: str) -> list[str]:
        return [event.message for event in self.events.recent if event.name == name and event.level == "error"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "state" / "health-r.json")


async def test_more_than_three_failed_attempts_in_a_row_disable_auto_until_a_reset(bench: Bench) -> None:
    for _ in range(3):
        bench.it.run_ended("a joint has failed")
    assert bench.it.bars_auto() == []
    assert bench.told("degraded.auto_disabled") == []
    bench.it.run_ended("power was cut")
    [reason] = bench.it.bars_auto()
    assert "4 attempts in a row have failed, at most 3 may" in reason
    assert len(bench.told("degraded.auto_disabled")) == 1
    assert bench.it.bars_arming() == [], "it may be moved by hand"
    assert bench.it.needs_reset(healthy=False)
    bench.it.reset(healthy=False)
    assert bench.it.bars_auto() == []
    assert not bench.it.needs_reset(healthy=False)


def test_a_reset_between_attempts_does_not_begin_the_row_anew(bench: Bench) -> None:
    for _ in range(3):
        bench.it.run_ended("the power was cut")
        bench.it.reset(healthy=False)
        assert bench.it.bars_auto() == []
    bench.it.run_ended("the power was cut")
    assert bench.it.auto_disabled
    bench.it.reset(healthy=False)
    assert bench.it.failed_attempts == 0


def test_a_run_that_ends_well_begins_the_row_anew(bench: Bench) -> None:
    for _ in range(10):
        bench.it.run_ended("it stalled")
        bench.it.run_ended("it stalled")
        bench.it.run_ended("")
    assert bench.it.status()["failed_attempts"] == 0
    assert not bench.it.auto_disabled


def test_more_than_five_joint_faults_within_an_hour_are_unhealthy(bench: Bench) -> None:
    for _ in range(20):  # one every twelve minutes is five an hour
        bench.it.joint_fault()
        bench.now_ns += HOUR_NS // 5
    assert bench.it.joint_faults == 4
    assert bench.it.bars_arming() == []
    bench.it.joint_fault()
    bench.it.joint_fault()
    [reason] = bench.it.bars_arming()
    assert "6 times within an hour, at most 5 are allowed" in reason
    assert len(bench.told("degraded.unhealthy")) == 1
    bench.now_ns += 2 * HOUR_NS
    bench.it.joint_fault()
    assert bench.it.joint_faults == 1
    assert bench.it.bars_arming() == [reason], "time alone mends nothing"
    assert len(bench.told("degraded.unhealthy")) == 1
    assert not bench.it.needs_reset(healthy=False)
    bench.it.reset(healthy=False)
    assert bench.it.bars_arming() == [reason]
    assert bench.it.needs_reset(healthy=True)
    bench.it.reset(healthy=True)
    assert bench.it.bars_arming() == []
    assert bench.it.joint_faults == 0


async def test_all_of_it_outlives_the_daemon(bench: Bench) -> None:
    for _ in range(4):
        bench.it.run_ended("it stalled")
    for _ in range(5):
        bench.it.joint_fault()
    await bench.it.keep()
    bench.restart()
    assert bench.it.status() == {
        "unhealthy": None,
        "joint_faults": 5,
        "failed_attempts": 4,
        "auto_disabled": True,
    }
    assert len(bench.told("degraded.auto_disabled")) == 1, "the alert is raised again"
    bench.it.joint_fault()
    reasons = bench.it.bars_arming()
    await bench.it.keep()
    bench.now_ns += 2 * HOUR_NS
    bench.restart()
    assert bench.it.bars_arming() == reasons
    assert len(bench.told("degraded.unhealthy")) == 1
    bench.it.reset(healthy=True)
    await bench.it.keep()
    bench.restart()
    assert bench.it.bars_arming() == bench.it.bars_auto() == []


async def test_nothing_is_written_when_nothing_has_changed(bench: Bench) -> None:
    bench.it.run_ended("")
    await bench.it.keep()
    assert not bench.path.exists()
    bench.it.run_ended("it stalled")
    await bench.it.keep()
    before = bench.path.stat().st_mtime_ns
    await bench.it.keep()
    assert bench.path.stat().st_mtime_ns == before
    bench.it.run_ended("")
    await bench.it.keep()
    bench.restart()
    assert bench.it.failed_attempts == 0


@pytest.mark.parametrize("damage", [b"", b"null", b"{}", b'"failed_attempts": 0'])
async def test_a_file_that_cannot_be_believed_is_unhealthy(bench: Bench, damage: bytes) -> None:
    bench.it.run_ended("it stalled")
    await bench.it.keep()
    good = bench.path.read_bytes()
    bench.path.write_bytes(damage if damage[:1] != b'"' else good.replace(b'"failed_attempts": 1', damage))
    bench.restart()
    [reason] = bench.it.bars_arming()
    assert str(bench.path) in reason
    bench.it.reset(healthy=True)
    await bench.it.keep()
    bench.restart()
    assert bench.it.bars_arming() == []


async def test_a_disk_that_fails_is_told_once_and_tried_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    bench.it.run_ended("it stalled")
    with monkeypatch.context() as patch:
        patch.setattr("runtime.kept.write", full)
        await bench.it.keep()
        await bench.it.keep()
    assert bench.events.counts["health.not_kept"] == 1
    await bench.it.keep()
    bench.restart()
    assert bench.it.failed_attempts == 1
