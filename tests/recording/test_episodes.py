from __future__ import annotations

from typing import Any

import pytest

from runtime.control.modes import Mode
from runtime.events import Events
from runtime.link.errors import Refused
from runtime.policy.tasks import Task
from runtime.recording.episode import Episode
from runtime.recording.episodes import Episodes

S = 1_000_000_000
NO_TASK = Task()


class FakeRecorder:
    """Keeps what it is told, as it is then."""

    def __init__(self) -> None:
        self.failed = ""
        self.orders: list[tuple[str, dict[str, Any] | None, str, str]] = []

    def add_episode(self, action: str, episode: Episode | None, at: Any, note: str, by: str) -> None:
        self.orders.append((action, episode.as_dict() if episode else None, note, by))

    @property
    def last(self) -> dict[str, Any]:
        told = self.orders[-1][1]
        assert told is not None
        return told


class Table:
    """Episodes under a clock of its own."""

    def __init__(self, marks_alone: bool = True) -> None:
        self.recorder: Any = FakeRecorder()
        self.events = Events()
        self.now_ns = 0
        self.episodes = Episodes("r", self.recorder, self.events, 60.0, marks_alone, clock=lambda: self.now_ns)

    def tick(self, mode: Mode) -> tuple[int, int]:
        self.now_ns += S
        return self.episodes.flags(mode, self.now_ns)

    def refused(self, verb: Any, *arguments: Any) -> str:
        with pytest.raises(Refused) as refused:
            verb(*arguments)
        return refused.value.message


@pytest.fixture
def table() -> Table:
    table = Table()
    table.tick(Mode.HOLD)
    return table


def test_the_ticks_of_an_episode_have_its_number(table: Table) -> None:
    assert table.tick(Mode.HOLD) == (0, 0)
    first = table.episodes.start(Task("pick", None, "pick it"), "alice")
    assert table.tick(Mode.AUTO) == (1, 0)
    assert table.episodes.status() == first
    table.episodes.end("success", "alice")
    assert table.tick(Mode.AUTO) == (0, 0)
    assert table.episodes.status() is None
    second = table.episodes.start(NO_TASK, "alice")
    assert table.tick(Mode.AUTO) == (2, 0)
    assert first["id"] != second["id"]
    assert [order[0] for order in table.recorder.orders] == ["start", "success", "start"]
    about = table.recorder.orders[1][1]
    assert (about["outcome"], about["task"], about["prompt"]) == ("success", "pick", "pick it")
    assert 0 < about["started_mono_ns"] < about["ended_mono_ns"]
    assert table.events.counts["episode.start"] == 2


def test_moving_by_hand_after_the_policy_is_an_intervention_and_has_a_name(table: Table) -> None:
    table.episodes.start(NO_TASK, "alice")
    assert table.tick(Mode.MANUAL) == (1, 0), "the policy has not moved it yet"
    table.tick(Mode.AUTO)
    table.tick(Mode.HOLD)
    table.episodes.mover = "bob"
    assert table.tick(Mode.MANUAL) == (1, 1)
    since_ns = table.now_ns
    assert table.tick(Mode.MANUAL) == (1, 1)
    assert table.tick(Mode.AUTO) == (1, 0)
    assert table.recorder.last["interventions"] == [(since_ns, since_ns + 2 * S, "bob")]
    table.tick(Mode.HOLD)
    table.tick(Mode.MANUAL)
    table.episodes.end("failure", "alice")
    assert len(table.recorder.last["interventions"]) == 2, "the end of the episode ends it"
    assert table.tick(Mode.MANUAL) == (0, 0), "putting things back is none"


def test_without_an_episode_the_run_counts_since_arming(table: Table) -> None:
    table.tick(Mode.AUTO)
    assert table.tick(Mode.MANUAL) == (0, 1)
    table.tick(Mode.STANDBY)
    table.tick(Mode.HOLD)
    assert table.tick(Mode.MANUAL) == (0, 0)


def test_a_stop_is_marked_and_leaves_the_verdict_to_the_operator(table: Table) -> None:
    table.episodes.start(NO_TASK, "alice")
    assert table.tick(Mode.ESTOP) == (1, 0)
    action, _about, note, by = table.recorder.orders[-1]
    assert (action, note, by) == ("mark", "the robot was stopped: ESTOP", "reflexd")
    table.tick(Mode.STANDBY)
    table.episodes.end("failure", "alice")
    assert [mark[1] for mark in table.recorder.last["notes"]] == ["the robot was stopped: ESTOP"]


def test_what_nobody_ends_is_cut_off(table: Table) -> None:
    table.episodes.start(NO_TASK, "alice")
    table.now_ns += 59 * S
    table.episodes.look()
    assert table.episodes.number == 1
    table.now_ns += 2 * S
    table.episodes.look()
    assert table.episodes.number == 0
    action, about, _note, by = table.recorder.orders[-1]
    assert about is not None
    assert (action, about["outcome"], by) == ("cut_off", "", "reflexd")
    assert "it was open for 1 min, recording.episode_minutes" in table.events.recent[-1].message
    table.episodes.cut_off("the daemon ends")
    assert table.events.counts["episode.cut_off"] == 1


def test_every_refusal_says_why(table: Table) -> None:
    episodes = table.episodes
    for verb in ("success", "failure", "discard"):
        assert f"{verb}: no episode is open; `reflexctl episode start`" in table.refused(episodes.end, verb, "a")
    for mode in (Mode.OFF, Mode.STANDBY, Mode.STOPPING, Mode.ESTOP, Mode.FAULT, Mode.HELD, Mode.RETURNING):
        table.tick(mode)
        told = table.refused(episodes.start, NO_TASK, "a")
        assert told == f"found mode {mode.name}, expected one of HOLD, AUTO, MANUAL: arm the robot first"
    table.tick(Mode.HOLD)
    table.recorder.failed = "the disk is full"
    assert "the disk is full" in table.refused(episodes.start, NO_TASK, "a")
    table.recorder.failed = ""
    told = episodes.start(NO_TASK, "a")
    assert f"episode {told['id']} is open; end it first" in table.refused(episodes.start, NO_TASK, "a")
    for note in ("", " ", "two\nlines", "x" * 201):
        assert "expected one line" in table.refused(episodes.mark, note, "a")
    for _ in range(100):
        episodes.mark("look", "a")
    assert "has 100 marks already" in table.refused(episodes.mark, "look", "a")
    assert [order[0] for order in table.recorder.orders] == ["start"] + ["mark"] * 100


def test_a_mark_outside_of_an_episode_is_for_modes_that_keep_it() -> None:
    table = Table()
    assert table.episodes.mark("look", "a") is None
    assert table.recorder.orders[-1][:2] == ("mark", None)
    strict = Table(marks_alone=False)
    assert "no episode is open" in strict.refused(strict.episodes.mark, "look", "a")


def test_without_a_recorder_there_are_no_episodes() -> None:
    episodes = Episodes("r", None, Events(), 60.0, marks_alone=True)
    assert episodes.flags(Mode.HOLD, 1) == (0, 0)
    for verb in (lambda: episodes.start(NO_TASK, "a"), lambda: episodes.mark("look", "a")):
        with pytest.raises(Refused, match=r"recording\.enabled is false"):
            verb()
