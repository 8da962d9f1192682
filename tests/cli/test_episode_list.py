"""`reflexctl episode list`: what the files say, wherever they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from runtime.cli.episode_list import scan
from runtime.cli.reflexctl import main
from runtime.recording.episode import METADATA, Episode
from runtime.recording.segment import Segment
from tests.export import made

S = 10**9


def segment(path: Path, episode: Episode | None, part: int = 1) -> Path:
    return made.segment(path, made.ticks(0, 3), episode=episode.metadata(part) if episode else None)


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    """e-new is being recorded; e-old has one part at the server's and one that waits."""
    root = tmp_path / "recordings"
    old = Episode("e-old", 1, "pick", "", 10 * S, 100 * S)
    segment(root / "sent/rejected/r-1.mcap", old)
    old.ended_mono_ns, old.outcome, old.verdict, old.reasons = 22 * S + S // 2, "success", "bad", ["front: dark"]
    segment(root / "ready/rejected/r-2.keep.mcap", old, 2)
    segment(root / "ready/bulk/r-3.mcap", None)
    (root / "open").mkdir()
    with (root / "open/r-4.mcap").open("wb") as file:
        being_written = Segment(file, made.LAYOUT.definition, {"robot": "r"})
        being_written.add_metadata(METADATA, Episode("e-new", 2, "", "pour tea", 5 * S, 900 * S).metadata(1))
        being_written.add_ticks(made.ticks(0, 3))
        being_written.flush()
    return root


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    code = main(["episode", "list", *map(str, words)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_all_folders_are_read_and_the_last_part_counts(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, told, _ = run(capsys, "--spool", spool, "--json")
    old, new = json.loads(told)
    assert (code, old["id"], old["number"], old["task"]) == (0, "e-old", 1, "pick")
    assert (old["outcome"], old["verdict"], old["reasons"]) == ("success", "bad", ["front: dark"])
    assert (old["duration_s"], old["started_wall_ns"]) == (12.5, 100 * S)
    assert old["segments"] == [
        {"name": "r-1", "part": 1, "state": "sent", "class": "rejected"},
        {"name": "r-2", "part": 2, "state": "ready", "class": "rejected"},
    ]
    assert (new["id"], new["prompt"], new["outcome"], new["duration_s"]) == ("e-new", "pour tea", "", None)
    assert new["segments"] == [{"name": "r-4", "part": 1, "state": "open", "class": None}]


def test_a_table_for_a_person(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, old, new = run(capsys, "--spool", spool)[1].splitlines()
    assert head.split() == ["number", "id", "task", "outcome", "verdict", "duration", "parts", "segments"]
    assert old.split("  ")[-1] == "sent/rejected 1, ready/rejected 1"
    assert old.split()[:7] == ["1", "e-old", "pick", "success", "bad", "12.5", "s"]
    assert new.split() == ["2", "e-new", "pour", "tea", "-", "-", "-", "1", "open", "1"]


@pytest.mark.parametrize("left", [0, 8, 60, -1])
def test_a_file_whose_head_is_not_there_yet_is_no_mistake(
    spool: Path, capsys: pytest.CaptureFixture[str], left: int
) -> None:
    file = spool / "open/r-4.mcap"
    file.write_bytes(file.read_bytes()[:left])
    code, told, errors = run(capsys, "--spool", spool, "--json")
    assert (code, errors, json.loads(told)[0]["id"]) == (0, "", "e-old")


def test_a_broken_file_is_told_and_the_others_are_shown(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (spool / "ready/bulk/r-9.mcap").write_bytes(b"nothing")
    code, told, errors = run(capsys, "--spool", spool, "--json")
    assert (code, len(json.loads(told))) == (1, 2)
    assert "r-9.mcap: found no whole recording of reflexd" in errors
    code, told, errors = run(capsys, "--spool", spool / "nowhere")
    assert (code, told, "found no such folder, expected --spool" in errors) == (1, "", True)


def test_a_segment_that_is_sent_meanwhile_is_there_once(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    glob = Path.glob

    def moving(folder: Path, pattern: str) -> list[Path]:
        found = list(glob(folder, pattern))
        if pattern.startswith("ready") and found:
            shutil.move(spool / "ready/rejected/r-2.keep.mcap", spool / "sent/rejected/r-2.keep.mcap")
        return found

    monkeypatch.setattr(Path, "glob", moving)
    parts, troubles = scan(spool)
    assert {part.name: part.state for part in parts} == {"r-1": "sent", "r-2": "sent", "r-4": "open"}
    assert not troubles
