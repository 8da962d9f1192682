from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader

from runtime.config.quality import Quality
from runtime.recording.contract import KeepRules, Mode
from runtime.recording.episode import Episode
from runtime.recording.gates import Gates
from runtime.recording.keeping import Keeping, Piece
from runtime.recording.triggers import Triggers
from runtime.spool.files import Files
from runtime.spool.layout import folders
from runtime.spool.recover import recover
from tests.spool.segments import DONE, LAYOUT, STOP, ticks

S = 1_000_000_000


class Desk:
    """A `Keeping` under a clock of its own: one segment after the other, as the recorder's process does it."""

    def __init__(self, root: Path, mode: Mode = "always", **rules: Any) -> None:
        Files().prepare(folders(root))
        self.root = root
        self.pieces: list[Piece] = []
        self.told: list[tuple[str, str]] = []
        keep = KeepRules(mode, 100.0, 60.0, **rules)
        gates = Gates.of(Quality(tick_gap_max=1e3, reading_age_max=1e3).model_dump(), LAYOUT, {})
        self.keeping = Keeping(root, keep, gates, Files(), self._tell, lambda count: None)
        self.now_s = 0.0
        self.count = self.part = 0
        self.begin()

    def _tell(self, name: str, message: str, level: str, **fields: Any) -> None:
        self.told.append((name, message))

    def begin(self) -> None:
        self.count += 1
        self.part += 1
        name = f"r-{self.count:02}"
        self.piece = self.keeping.begin(name, LAYOUT.definition, {"robot": "r"}, self.part, self.now_s)
        self.pieces.append(self.piece)
        self.keeping.ticks(ticks(10 * self.count, 10), self.now_s)

    def end_all(self) -> None:
        for piece in self.pieces:
            piece.file.close()

    def close(self) -> None:
        self.piece.segment.flush()
        self.keeping.close(self.now_s)

    def wait(self, seconds: float) -> None:
        """Ends segments when they are over."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            self.now_s += 1.0
            if self.keeping.is_over(self.now_s):
                self.close()
                self.begin()

    def event(self, event: dict[str, Any]) -> None:
        self.keeping.message("/events", round(self.now_s * S), event, self.now_s)

    def start(self) -> Episode:
        self.close()
        episode = Episode("e-1", 1, "pick", "pick it", 5, 6)
        self.keeping.start_episode(episode)
        self.part = 0
        self.begin()
        return episode

    def end(self, episode: Episode, outcome: str) -> None:
        episode.outcome, episode.ended_mono_ns = outcome, round(self.now_s * S)
        self.close()
        self.keeping.end_episode(episode, self.now_s)
        self.begin()

    @property
    def files(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*.mcap"))


MakeDesk = Callable[..., Desk]


@pytest.fixture
def make_desk(tmp_path: Path) -> Iterator[MakeDesk]:
    with ExitStack() as stack:

        def make(*arguments: Any, **rules: Any) -> Desk:
            desk = Desk(tmp_path, *arguments, **rules)
            stack.callback(desk.end_all)
            return desk

        yield make


def about(path: Path) -> dict[str, str]:
    """The metadata record that counts."""
    with path.open("rb") as file:
        return [m.metadata for m in make_reader(file).iter_metadata() if m.name == "episode"][-1]


def test_always_keeps_everything(make_desk: MakeDesk, tmp_path: Path) -> None:
    desk = make_desk()
    desk.wait(250)
    assert desk.files == ["open/r-03.mcap", "ready/bulk/r-01.mcap", "ready/bulk/r-02.mcap"]


@pytest.mark.parametrize("mode", ["ring", "episodes"])
def test_without_a_trigger_only_the_ring_is_there(make_desk: MakeDesk, tmp_path: Path, mode: Mode) -> None:
    desk = make_desk(mode)
    desk.wait(95)
    assert desk.files == [f"open/r-{n:02}.mcap" for n in range(3, 11)], "60 s of it, whole segments of 10 s"
    desk.close()
    desk.keeping.end(clean=True, now_s=desk.now_s)
    assert desk.files == []


@pytest.mark.parametrize("mode", ["ring", "episodes"])
def test_a_stop_keeps_what_came_before_and_after(make_desk: MakeDesk, tmp_path: Path, mode: Mode) -> None:
    desk = make_desk(mode, after_s=15.0)
    desk.wait(95)
    desk.event(STOP)
    desk.wait(100)
    kept = [name for name in desk.files if name.startswith("ready")]
    assert kept == [f"ready/safety/r-{n:02}.mcap" for n in range(3, 11)]
    assert desk.told == [("recording.kept", "the last 60 s and what follows are kept as safety: pressed")]
    with (tmp_path / kept[-1]).open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None, "it is whole"


@pytest.mark.parametrize(("mode", "kept"), [("always", 0), ("ring", 4), ("episodes", 0)])
def test_a_mark_is_a_trigger_of_the_ring(make_desk: MakeDesk, tmp_path: Path, mode: Mode, kept: int) -> None:
    desk = make_desk(mode)
    desk.wait(35)
    desk.event(DONE)
    desk.keeping.mark("look here", desk.now_s)
    desk.wait(11)
    assert len([name for name in desk.files if name.startswith("ready/failure")]) == kept


def test_a_trigger_that_goes_on_keeps_on_and_is_told_once(make_desk: MakeDesk, tmp_path: Path) -> None:
    desk = make_desk("ring")
    for _ in range(20):
        desk.keeping.mark("look", desk.now_s)
        desk.wait(9)
    assert [name for name, _ in desk.told] == ["recording.kept"]
    desk.event(STOP)
    desk.close()
    assert desk.files[-1].startswith("ready/safety")


def test_what_a_dead_daemon_leaves_is_kept(make_desk: MakeDesk, tmp_path: Path) -> None:
    desk = make_desk("ring")
    desk.wait(15)
    desk.close()
    desk.keeping.end(clean=False, now_s=desk.now_s)
    assert desk.files == ["ready/failure/r-01.mcap", "ready/failure/r-02.mcap"]


@pytest.mark.parametrize("mode", ["always", "ring", "episodes"])
@pytest.mark.parametrize(
    ("outcome", "change", "folder"),
    [
        ("success", {}, "ready/bulk"),
        ("failure", {}, "ready/failure"),
        ("", {}, "ready/failure"),
        ("success", {"interventions": [(1, 2, "bob")]}, "ready/intervention"),
        ("failure", {"interventions": [(1, 2, "bob")], "bad": True}, "ready/rejected"),
    ],
)
def test_an_episode_is_kept_whole_and_every_part_says_how_it_ended(
    make_desk: MakeDesk, tmp_path: Path, mode: Mode, outcome: str, change: dict[str, Any], folder: str
) -> None:
    desk = make_desk(mode)
    episode = desk.start()
    desk.wait(250)
    assert len(list((tmp_path / "open").iterdir())) >= 3, "nothing of it is decided yet"
    episode.interventions = change.get("interventions", [])
    if "bad" in change:
        desk.keeping.clock(0, 0)
        desk.keeping.clock(0, 10 * S)
    desk.end(episode, outcome)
    parts = sorted((tmp_path / folder).iterdir())
    assert [path.name for path in parts][-3:] == ["r-02.mcap", "r-03.mcap", "r-04.mcap"]
    for part, path in enumerate(parts[-3:], 1):
        told = about(path)
        assert (told["id"], told["part"], told["task"], told["outcome"]) == ("e-1", str(part), "pick", outcome)
        assert told["verdict"] == ("" if not outcome else "bad" if "bad" in change else "good")
        assert ["the wall clock stepped by +10 s" in reason for reason in json.loads(told["reasons"])] == (
            [True] if "bad" in change else []
        )
        assert json.loads(told["interventions"]) == [list(i) for i in change.get("interventions", [])]


def test_a_discarded_episode_is_gone_but_not_the_stop_in_it(make_desk: MakeDesk, tmp_path: Path) -> None:
    desk = make_desk("episodes")
    desk.end(desk.start(), "discarded")
    assert desk.files == ["open/r-01.mcap", "open/r-03.mcap"], "the ring is left"
    episode = desk.start()
    desk.event(STOP)
    desk.end(episode, "discarded")
    assert [name for name in desk.files if name.startswith("ready")] == [
        "ready/safety/r-01.mcap",
        "ready/safety/r-03.mcap",
        "ready/safety/r-04.mcap",
    ]
    assert about(tmp_path / "ready/safety/r-04.mcap")["outcome"] == "discarded"


def test_a_failure_keeps_the_ring_before_it(make_desk: MakeDesk, tmp_path: Path) -> None:
    desk = make_desk("ring")
    desk.wait(12)
    desk.end(desk.start(), "failure")
    assert desk.files == ["open/r-04.mcap", *(f"ready/failure/r-0{n}.mcap" for n in (1, 2, 3))]


def test_an_episode_of_a_dead_daemon_is_cut_off(make_desk: MakeDesk, tmp_path: Path) -> None:
    desk = make_desk()
    desk.start()
    desk.close()
    desk.keeping.end(clean=False, now_s=desk.now_s)
    told = about(tmp_path / "ready/failure/r-02.mcap")
    assert (told["outcome"], told["verdict"]) == ("", "")
    assert int(told["ended_mono_ns"]) == 29 * S // 1000, "its last tick"


@pytest.mark.parametrize("finished", [False, True])
def test_what_a_crash_leaves_of_an_episode_has_its_class(
    make_desk: MakeDesk, tmp_path: Path, finished: bool
) -> None:
    desk = make_desk()
    episode = desk.start()
    desk.piece.segment.flush()
    if finished:
        episode.outcome, episode.verdict = "success", "bad"
        desk.keeping._finish(desk.piece, episode)
    desk.piece.file.flush()
    with desk.piece.path.open("r+b") as file:
        found = recover(file)
    assert (found.cut, str(found.kind)) == (0, "rejected" if finished else "failure")


def auto(first: int, count: int, limits: int = 0, mode: int = 3) -> Any:
    records = ticks(first, count)
    records["mode"] = mode
    records["joints"]["limits"][:, 0] = limits
    return records


def test_limits_trigger_only_in_auto_and_in_a_full_window() -> None:
    triggers = Triggers(0.1, 0.5, None)
    assert triggers.ticks(auto(0, 90, limits=2)) == "", "the window is not full"
    assert triggers.ticks(auto(90, 20, limits=2)) == "limits acted in 100% of the ticks of 0.1 s"
    assert triggers.ticks(auto(110, 49)) != ""
    assert triggers.ticks(auto(159, 10)) == ""
    by_hand = Triggers(0.1, 0.5, None)
    assert by_hand.ticks(auto(0, 300, limits=2, mode=4)) == ""
    assert Triggers(0.1, None, None).ticks(auto(0, 300, limits=2)) == ""


def test_uncertainty_triggers_by_its_mean() -> None:
    triggers = Triggers(1.0, None, 0.5)
    found = [triggers.chunk(n * S // 2, value) for n, value in enumerate([0.4, 0.7, 0.2, 0.9])]
    assert [bool(text) for text in found] == [False, True, False, True]
    assert Triggers(1.0, None, None).chunk(0, 9.0) == ""


def test_an_intervention_makes_a_segment_one(make_desk: MakeDesk, tmp_path: Path) -> None:
    desk = make_desk()
    records = ticks(50, 3)
    records["intervention"][1] = 1
    desk.keeping.ticks(records, desk.now_s)
    desk.close()
    assert desk.files == ["ready/intervention/r-01.mcap"]
