"""The spool on a real folder: what was cut off, what has to go, and disks that do not do what they are told."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from runtime.spool.files import Files
from runtime.spool.keeper import Keeper
from runtime.spool.layout import Class, Entry, State, folders, parse
from runtime.spool.retention import Caps
from tests.spool.disk import CHANGES, FailingFiles
from tests.spool.segments import make_segment, numbers, tree

DATA, ENDS = make_segment()
SAFETY, _ = make_segment(stop_in=2)
PLENTY = Caps(10**9, 0)


class Bench:
    """A spool, its disk, and what it has told."""

    def __init__(self, root: Path, caps: Caps = PLENTY, files: Files | None = None) -> None:
        self.root = root
        self.files = files or FailingFiles()
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.messages: list[str] = []
        self.keeper = Keeper(root, caps, self.files, self._tell)

    def _tell(self, name: str, message: str, level: str, **fields: Any) -> None:
        self.messages.append(message)
        self.told.append((name, level, fields))

    def names(self) -> list[str]:
        return [name for name, _, _ in self.told]

    def put(self, where: str, data: bytes = DATA) -> Path:
        path = self.root / where
        path.write_bytes(data)
        return path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    Files().prepare(folders(tmp_path))
    made = Bench(tmp_path)
    made.keeper.begin()
    return made


def test_what_was_cut_off_becomes_ready(bench: Bench) -> None:
    bench.put("open/r-1.mcap", DATA[: ENDS[1] + 7])
    bench.put("open/r-2.mcap", SAFETY)
    bench.put("r-3.mcap", DATA[:-1])  # a release without a spool left it there
    bench.keeper.look()
    assert list(tree(bench.root)) == ["ready/bulk/r-1.mcap", "ready/bulk/r-3.mcap", "ready/safety/r-2.mcap"]
    assert numbers((bench.root / "ready/bulk/r-1.mcap").read_bytes()) == list(range(8))
    assert (bench.root / "ready/safety/r-2.mcap").read_bytes() == SAFETY
    assert bench.told[0] == (
        "spool.recovered",
        "warning",
        {"segment": "r-1", "kind": "bulk", "messages": 10, "cut_bytes": 7},
    )


def test_what_is_being_written_is_left_alone(bench: Bench) -> None:
    path = bench.root / "open/r-1.mcap"
    with Files().create(path) as file:
        file.write(DATA[: ENDS[0]])
        file.flush()
        bench.keeper.look()
        assert list(tree(bench.root)) == ["open/r-1.mcap"]
        assert bench.keeper.open_bytes == ENDS[0]
    bench.keeper.look()
    assert list(tree(bench.root)) == ["ready/bulk/r-1.mcap"]
    assert bench.keeper.open_bytes == 0


def test_a_file_without_a_whole_chunk_is_counted_as_lost_and_an_empty_one_is_not(bench: Bench) -> None:
    bench.put("open/r-1.mcap", DATA[:100])
    bench.put("open/r-2.mcap", b"")
    bench.keeper.look()
    assert tree(bench.root) == {"lost/bulk/r-1.100.unreadable": 0}
    assert bench.keeper.status()["lost"] == {"bulk": {"segments": 1, "bytes": 100}}
    assert bench.names() == ["spool.lost"]


def test_a_name_that_is_taken_gets_a_number(bench: Bench) -> None:
    bench.put("ready/bulk/r-1.mcap", SAFETY)
    bench.put("open/r-1.mcap")
    bench.keeper.look()
    assert (bench.root / "ready/bulk/r-1.mcap").read_bytes() == SAFETY
    assert (bench.root / "ready/bulk/r-1-2.mcap").read_bytes() == DATA


def fill(root: Path) -> None:
    for kind in Class:
        for number in range(2):
            for state in (State.READY, State.SENT):
                (root / state / kind / f"r-{kind}-{state}{number}.mcap").write_bytes(DATA)


def test_under_pressure_every_loss_is_counted_told_and_survives_a_restart(tmp_path: Path) -> None:
    Files().prepare(folders(tmp_path))
    fill(tmp_path)
    bench = Bench(tmp_path, Caps(5 * len(DATA), 0))
    bench.keeper.begin()
    bench.keeper.look()
    left = [name for name in tree(tmp_path) if not name.startswith("lost")]
    assert left == [
        "ready/failure/r-failure-ready1.mcap",
        "ready/intervention/r-intervention-ready0.mcap",
        "ready/intervention/r-intervention-ready1.mcap",
        "ready/safety/r-safety-ready0.mcap",
        "ready/safety/r-safety-ready1.mcap",
    ], "all ten that the server has went first, then those of rejected and bulk and the older failure"
    assert bench.names() == ["spool.lost"] * 5
    both, one = {"segments": 2, "bytes": 2 * len(DATA)}, {"segments": 1, "bytes": len(DATA)}
    lost = {"rejected": both, "bulk": both, "failure": one}
    for keeper in (bench.keeper, Bench(tmp_path).keeper):
        keeper.begin()
        keeper.look()
        status = keeper.status()
        assert status["lost"] == lost
        assert status["lost_why"] == {"size_max": 5}
        assert status["sent"] == {}


def test_a_full_disk_of_others_costs_all_but_unsent_safety_and_is_told_once(bench: Bench, tmp_path: Path) -> None:
    fill(tmp_path)
    bench.keeper._caps = Caps(10**9, 1000)
    assert isinstance(bench.files, FailingFiles)
    bench.files.room = 999
    for _ in range(3):
        bench.keeper.look()
    assert [name for name in tree(tmp_path) if not name.startswith("lost")] == [
        "ready/safety/r-safety-ready0.mcap",
        "ready/safety/r-safety-ready1.mcap",
    ]
    assert bench.names() == ["spool.lost"] * 8 + ["spool.no_room"]
    assert "no segment is left that may go" in bench.keeper.status()["trouble"][0]
    bench.files.room = 1000
    bench.keeper.look()
    assert bench.keeper.status()["trouble"] == []


def test_a_deletion_that_was_cut_off_is_finished(bench: Bench) -> None:
    bench.put(f"lost/bulk/r-1.{len(DATA)}.size_max")
    for _ in range(2):
        bench.keeper.look()
    assert tree(bench.root) == {f"lost/bulk/r-1.{len(DATA)}.size_max": 0}
    assert bench.names() == ["spool.lost"]


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("operation", [name for name in CHANGES if name not in ("prepare", "create")])
def test_a_disk_that_fails_at_one_operation_loses_nothing_and_is_told_once(
    bench: Bench, operation: str, error: int
) -> None:
    fill(bench.root)
    bench.put("open/r-1.mcap", DATA[:-5])
    bench.put("open/r-2.mcap", b"")
    before = {path.name for path in bench.root.rglob("*.mcap")}

    def fail(name: str) -> None:
        if name == operation:
            raise OSError(error, os.strerror(error))

    assert isinstance(bench.files, FailingFiles)
    bench.files.trouble = fail
    bench.keeper._caps = Caps(5 * len(DATA), 0)
    for _ in range(3):
        bench.keeper.look()
    assert bench.keeper.trouble
    assert len(bench.messages) == len(set(bench.messages)), "nothing is told twice"
    assert os.strerror(error) in bench.keeper.trouble[0]
    after = {path.name for path in bench.root.rglob("*.mcap")}
    if operation == "move":
        assert {name for name in before if "-ready" in name} <= after, "unsent and uncounted: it stays"
    bench.files.trouble = lambda name: None
    bench.keeper.look()
    assert bench.keeper.trouble == []
    status = bench.keeper.status()
    assert sum(count["segments"] for count in status["lost"].values()) == bench.names().count("spool.lost")
    assert not list((bench.root / "open").iterdir())
    assert sum(tree(bench.root).values()) <= 5 * len(DATA)


def test_a_file_that_cannot_be_recovered_does_not_keep_the_others(bench: Bench) -> None:
    bench.put("open/r-1.mcap", DATA[:-5])
    bench.put("open/r-2.mcap", DATA[:-5])
    seen = []

    def fail(name: str) -> None:
        if name == "sync" and not seen:
            seen.append(name)
            raise OSError(errno.EIO, "Input/output error")

    assert isinstance(bench.files, FailingFiles)
    bench.files.trouble = fail
    bench.keeper.look()
    assert len(list((bench.root / "ready/bulk").iterdir())) == 1
    assert bench.names() == ["spool.failed", "spool.recovered"]
    bench.keeper.look()
    assert len(list((bench.root / "ready/bulk").iterdir())) == 2
    assert bench.keeper.trouble == []


def test_a_file_that_could_not_be_recovered_and_is_gone_is_no_trouble_any_more(bench: Bench) -> None:
    path = bench.put("open/r-1.mcap", DATA[:-5])

    def fail(name: str) -> None:
        if name == "sync":
            raise OSError(errno.EIO, "Input/output error")

    assert isinstance(bench.files, FailingFiles)
    bench.files.trouble = fail
    bench.keeper.look()
    assert bench.keeper.trouble
    path.unlink()
    bench.keeper.look()
    assert bench.keeper.trouble == []


def test_the_folder_gone_and_back(bench: Bench, tmp_path: Path) -> None:
    bench.put("ready/bulk/r-1.mcap")
    away = tmp_path.with_name("away")
    tmp_path.rename(away)
    bench.keeper.look()
    assert bench.keeper.trouble
    away.rename(tmp_path)
    bench.keeper.look()
    assert bench.keeper.trouble == []
    assert bench.keeper.status()["ready"]["bulk"]["segments"] == 1


def test_what_somebody_else_does_between_two_looks_is_seen(bench: Bench) -> None:
    for number in range(5):
        bench.put(f"ready/bulk/r-{number}.mcap")
    bench.put("lost/bulk/r-9.7.size_max", b"")
    bench.keeper.look()
    (bench.root / "ready/bulk/r-0.mcap").unlink()
    (bench.root / "ready/bulk/r-1.mcap").rename(bench.root / "ready/safety/r-1.mcap")
    (bench.root / "ready/bulk/r-2.mcap").rename(bench.root / "sent/bulk/r-2.mcap")
    (bench.root / "ready/bulk/r-3.mcap").rename(bench.root / "ready/bulk/r-3.keep.mcap")
    (bench.root / "lost/bulk/r-9.7.size_max").rename(bench.root / "reported/bulk/r-9.7.size_max")
    bench.put("ready/bulk/r-5.mcap", SAFETY)
    bench.keeper.look()
    other = Bench(bench.root).keeper
    other.begin()
    other.look()
    assert sorted(bench.keeper.entries, key=str) == sorted(other.entries, key=str)
    assert bench.keeper.status() == other.status()


def test_one_keeper_at_a_time(tmp_path: Path) -> None:
    first = Files().claim(tmp_path)
    assert first is not None
    assert Files().claim(tmp_path) is None
    os.close(first)
    second = Files().claim(tmp_path)
    assert second is not None
    os.close(second)


@pytest.mark.parametrize(
    "file", ["x", ".mcap", "r.5.because", "r.x.size_max", "r.5", ".5.size_max", "r.mcap.part"]
)
@pytest.mark.parametrize("state", [State.READY, State.LOST])
def test_a_foreign_file_is_nothing_of_ours(file: str, state: State) -> None:
    assert parse(Path("/s"), state, Class.BULK, file, 3) is None


@pytest.mark.parametrize("kept", [False, True])
def test_a_name_tells_all_that_an_entry_is(kept: bool) -> None:
    entry = Entry(Path("/s"), State.READY, Class.FAILURE, "r-1", 7, kept)
    assert parse(Path("/s"), State.READY, Class.FAILURE, entry.path.name, 7) == entry
