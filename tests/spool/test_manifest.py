from __future__ import annotations

import json
from pathlib import Path

from runtime.recording.episode import METADATA, Episode
from runtime.recording.segment import Segment
from runtime.spool.index import Index, read_facts
from runtime.spool.layout import Class, Entry, State
from runtime.spool.upload.manifest import manifest
from runtime.spool.upload.sums import FileSums
from tests.spool.segments import LAYOUT, ticks


def write(path: Path, *episodes: Episode) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        segment = Segment(file, LAYOUT.definition, {"robot": "r"})
        for episode in episodes:
            segment.add_metadata(METADATA, episode.metadata(2))
        segment.add_ticks(ticks(0, 3))
        segment.finish()


def test_a_manifest_says_what_became_of_the_episode(tmp_path: Path) -> None:
    begun = Episode("e-1", 1, "pick", "", 5, 6)
    ended = Episode("e-1", 1, "pick", "", 5, 6, outcome="success", verdict="bad")
    entry = Entry(tmp_path, State.READY, Class.SAFETY, "r-1", 0)
    write(entry.path, begun, ended)
    sums = FileSums.of(entry.path)
    told = json.loads(manifest("k", "f", "r", entry, read_facts(entry.path), sums))
    found = {key: told[key] for key in ("episode", "episode_part", "task", "outcome", "verdict")}
    expected = {"episode": "e-1", "episode_part": "2", "task": "pick", "outcome": "success", "verdict": "bad"}
    assert found == expected
    other = Entry(tmp_path, State.READY, Class.BULK, "r-2", 0)
    write(other.path)
    told = json.loads(manifest("k", "f", "r", other, read_facts(other.path), sums))
    assert {told[key] for key in found} == {""}


def test_the_index_remembers_the_episode(tmp_path: Path) -> None:
    entry = Entry(tmp_path, State.READY, Class.BULK, "r-1", 0)
    write(entry.path, Episode("e-1", 1, "pick", "", 5, 6, outcome="success"))
    index = Index(tmp_path / "index.sqlite")
    first = index.facts(entry)
    assert (first.episode["outcome"], index.facts(entry)) == ("success", first)
    index.close()
