"""The stages of a running robot: from one to the next by a whole run and another person's word, or not at all."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from runtime.config.models import Stages
from runtime.events import Events
from runtime.link.errors import Refused
from runtime.stages import store
from runtime.stages.commissioning import Commissioning
from runtime.stages.people import Person
from runtime.stages.stage import Stage

PARTS = {"control": "a1", "joint.elbow": "b2"}
NAMES = {0: "root", 1000: "alice", 1001: "bob"}
ALICE, BOB = 1000, 1001
RUN_S = 600


class Bench:
    """A robot that works or not, a clock that goes when it is told to, and the commissioning."""

    def __init__(self, path: Path, single_person: bool = False) -> None:
        self.events = Events()
        self.now_ns = 0
        self.works = self.energised = False
        self.speeds: list[float] = []
        self.asked: list[Stage] = []
        self.it = Commissioning(
            Stages(run_minutes=RUN_S / 60, single_person=single_person),
            path,
            self.events,
            self.speeds.append,
            works=self._works,
            energised=lambda: self.energised,
            clock=lambda: self.now_ns,
            person=lambda uid: Person(uid, NAMES[uid]),
        )

    def _works(self, stage: Stage) -> bool:
        self.asked.append(stage)
        return self.works

    def pass_s(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now_ns += 1_000_000_000
            self.it.look()

    def run(self, operator: int = ALICE, seconds: int = RUN_S + 1) -> None:
        """A run: the first look has none before it, so a second more."""
        self.it.operated(operator)
        self.works = True
        self.pass_s(seconds)
        self.works = False

    async def refused(self, by: str = "bob", uid: int = BOB) -> tuple[str, ...]:
        before = self.it.stage
        with pytest.raises(Refused) as refusal:
            await self.it.promote(by, uid)
        assert refusal.value.code == "stage"
        assert self.it.stage is before
        return refusal.value.reasons

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event.fields for event in self.events.recent if event.name == name]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stage.json"


@pytest.fixture
def bench(path: Path) -> Bench:
    found = Bench(path)
    found.it.begin(PARTS)
    return found


def test_nothing_may_be_energised_before_it_has_looked(path: Path) -> None:
    assert Bench(path).it.reasons() != []


def test_a_new_robot_keeps_its_motors_off_and_says_why(bench: Bench) -> None:
    assert bench.it.stage is Stage.SENSORS
    first, second = bench.it.reasons()
    assert "a run of 10 min and `reflexctl promote`" in first
    assert second == "stage sensors: no sign-off is stored: a new robot"
    assert bench.named("stage.lowered") == [{"stage": "sensors"}]
    assert bench.it.status() == {
        "name": "sensors",
        "scale": 0.0,
        "run_s": 0.0,
        "needed_s": 600.0,
        "broken_by": None,
        "lowered": ["no sign-off is stored: a new robot"],
    }


async def test_from_sensors_to_full_speed_and_no_further(bench: Bench, path: Path) -> None:
    for stage, speed in ((Stage.QUARTER, 0.25), (Stage.HALF, 0.5), (Stage.FULL, 1.0)):
        bench.run()
        told = await bench.it.promote("bob", BOB)
        assert (told["name"], told["scale"], told["run_s"]) == (stage.value, speed, 0.0)
        assert (bench.it.stage, bench.speeds[-1], bench.it.reasons()) == (stage, speed, [])
        kept = store.read(path)
        assert kept is not None
        assert (kept.stage, kept.by, kept.user, kept.operated_by) == (stage, "bob", "bob", ("alice",))
    assert [fields["stage"] for fields in bench.named("stage.promoted")] == ["25", "50", "100"]
    bench.run()
    assert await bench.refused() == ()


async def test_a_restart_keeps_the_stage_and_begins_the_run_anew(bench: Bench, path: Path) -> None:
    bench.run()
    await bench.it.promote("bob", BOB)
    bench.run()
    again = Bench(path)
    again.it.begin(PARTS)
    assert (again.it.stage, again.speeds, again.it.lowered) == (Stage.QUARTER, [0.25], [])
    assert again.named("stage.lowered") == []
    assert "the run has lasted 0.0 min" in (await again.refused())[0]


async def test_a_changed_part_lowers_it_and_the_old_one_has_its_stage_again(bench: Bench, path: Path) -> None:
    bench.run()
    await bench.it.promote("bob", BOB)
    changed = Bench(path)
    changed.it.begin({**PARTS, "joint.elbow": "other"})
    assert (changed.it.stage, changed.speeds) == (Stage.SENSORS, [0.25])
    assert "joint.elbow has changed since bob signed it off" in changed.it.reasons()[1]
    assert changed.events.recent[-1].name == "stage.lowered"
    back = Bench(path)
    back.it.begin(PARTS)
    assert back.it.stage is Stage.QUARTER


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
async def test_a_damaged_file_is_the_lowest_stage(bench: Bench, path: Path, content: bytes) -> None:
    bench.run()
    await bench.it.promote("bob", BOB)
    path.write_bytes(content)
    again = Bench(path)
    again.it.begin(PARTS)
    assert again.it.stage is Stage.SENSORS
    assert str(path) in again.it.lowered[0]
    assert again.it.reasons() != []


async def test_a_run_that_is_too_short_is_refused_with_everything_else(bench: Bench) -> None:
    bench.run(seconds=300)
    bench.energised = True
    reasons = await bench.refused("alice", ALICE)
    assert [reason.split(",")[0] for reason in reasons] == [
        "the motors are energised",
        "the run has lasted 5.0 min",
        "alice has operated the robot in this run",
    ]


@pytest.mark.parametrize("name", ["safety.torque_off", "joint.fault", "joint.lost", "safety.stop"])
async def test_a_safety_event_begins_the_run_anew(bench: Bench, name: str) -> None:
    bench.run()
    # The safety thread tells of what it does itself.
    telling = threading.Thread(target=bench.events.emit, args=(name, "something happened", "warning"))
    telling.start()
    telling.join()
    (reason,) = await bench.refused()
    assert "it began anew because of: something happened" in reason
    bench.run(seconds=RUN_S)
    assert await bench.refused() != ()
    bench.run(seconds=2)
    await bench.it.promote("bob", BOB)


async def test_other_events_do_not(bench: Bench) -> None:
    bench.run()
    bench.events.emit("safety.armed", "armed")
    bench.events.emit("safety.started", "the safety thread has no real-time priority", level="warning")
    bench.events.emit("policy.crashed", "the worker crashed", level="error")
    await bench.it.promote("bob", BOB)


async def test_whoever_has_operated_since_the_stage_began_may_not_sign_it(bench: Bench) -> None:
    bench.it.operated(BOB)
    bench.run(ALICE)
    bench.events.emit("joint.lost", "gone", level="error")
    bench.run(ALICE, seconds=RUN_S + 2)
    (reason,) = await bench.refused("bob", BOB)
    assert reason.startswith("bob has operated")


async def test_the_next_stage_may_be_signed_by_the_operator_of_the_last(bench: Bench) -> None:
    bench.run(ALICE)
    await bench.it.promote("bob", BOB)
    bench.run(BOB)
    await bench.it.promote("alice", ALICE)
    assert bench.it.stage is Stage.HALF


async def test_where_there_is_one_person_only_that_person_signs(path: Path) -> None:
    bench = Bench(path, single_person=True)
    bench.it.begin(PARTS)
    bench.run(ALICE)
    await bench.it.promote("Alice A.", ALICE)
    kept = store.read(path)
    assert kept is not None
    assert (kept.by, kept.user, kept.operated_by) == ("Alice A.", "alice", ("alice",))


async def test_a_sign_off_that_cannot_be_stored_is_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, signed: object) -> None:
        raise OSError(28, "No space left on device")

    bench.run()
    monkeypatch.setattr(store, "write", full)
    (reason,) = await bench.refused()
    assert "No space left on device" in reason
    assert bench.named("stage.promoted") == []


def test_the_time_that_counts_is_that_of_the_stage_in_force(bench: Bench) -> None:
    bench.pass_s(1)
    assert bench.asked == [Stage.SENSORS]
