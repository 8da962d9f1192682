"""The file of a sign-off: replaced as a whole, and believed only as it was written."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

import pytest

from runtime.kept import StoreError
from runtime.stages import store
from runtime.stages.stage import SignOff, Stage

SIGNED = SignOff(Stage.HALF, {"control": "a1", "model": "c3"}, "Bob B.", "bob", ("alice", "carol"), 1_700_000_000)


def test_what_was_written_is_read_and_nothing_is_left_over(tmp_path: Path) -> None:
    path = tmp_path / "state" / "stage.json"
    assert store.read(path) is None
    store.write(path, SIGNED)
    assert store.read(path) == SIGNED
    assert os.listdir(path.parent) == ["stage.json"]


def test_every_damage_is_found(tmp_path: Path) -> None:
    """No byte may be changed or lost without that being seen, or it says the same as before."""
    path = tmp_path / "stage.json"
    store.write(path, SIGNED)
    good = path.read_bytes()
    for at in range(len(good)):
        for damaged in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            path.write_bytes(damaged)
            with contextlib.suppress(StoreError):
                assert store.read(path) == SIGNED


def test_a_stage_that_was_raised_by_hand_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "stage.json"
    store.write(path, SIGNED)
    path.write_text(path.read_text().replace('"stage": "50"', '"stage": "100"'))
    with pytest.raises(StoreError, match="checksum does not fit"):
        store.read(path)


@pytest.mark.parametrize("content", ["", "null", "[]", "{}", '{"sha256": "", "signed": []}', "[" * 100_000])
def test_any_other_content_is_an_error_of_its_own(tmp_path: Path, content: str) -> None:
    path = tmp_path / "stage.json"
    path.write_text(content)
    with pytest.raises(StoreError, match=str(path)):
        store.read(path)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        store.read(tmp_path)


def test_a_write_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stage.json"
    store.write(path, SIGNED)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(path, SignOff(Stage.FULL, {}, "x", "x", (), 2))
    assert store.read(path) == SIGNED


def test_the_new_one_is_on_the_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, calls = tmp_path / "stage.json", []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        calls.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def noted_replace(old: Path, new: Path) -> None:
        assert json.loads(Path(old).read_text())["signed"]["by"] == "Bob B."
        calls.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    store.write(path, SIGNED)
    assert calls == ["stage.new", "replace", tmp_path.name]
