"""What is synced, and in which order: the promises of `Files` themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.spool.files import Files


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Every sync and rename, with names below the folder of the test."""
    told: list[str] = []
    fsync, fdatasync, rename = os.fsync, os.fdatasync, os.rename

    def name(descriptor: int) -> str:
        return os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path)

    def note_fsync(descriptor: int) -> None:
        told.append(f"sync {name(descriptor)}")
        fsync(descriptor)

    def note_fdatasync(descriptor: int) -> None:
        told.append(f"sync {name(descriptor)}")
        fdatasync(descriptor)

    def note_rename(source: Path, target: Path) -> None:
        told.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "fdatasync", note_fdatasync)
    monkeypatch.setattr(os, "rename", note_rename)
    return told


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    return tmp_path / "a", tmp_path / "b"


def test_a_move_syncs_the_file_before_and_both_folders_after(calls: list[str], folders: tuple[Path, Path]) -> None:
    a, b = folders
    (a / "x").write_text("x")
    Files().move(a / "x", b / "y")
    assert calls == ["sync a/x", "rename", "sync b", "sync a"]
    assert (b / "y").read_text() == "x"


def test_a_move_never_replaces_a_file(calls: list[str], folders: tuple[Path, Path]) -> None:
    a, b = folders
    (a / "x").write_text("x")
    (b / "x").write_text("other")
    with pytest.raises(FileExistsError):
        Files().move(a / "x", b / "x")
    assert "rename" not in calls
    assert (b / "x").read_text() == "other"


def test_a_new_file_has_its_name_on_the_disk_and_is_locked(calls: list[str], folders: tuple[Path, Path]) -> None:
    a, _ = folders
    with Files().create(a / "x") as file, (a / "x").open("r+b") as another:
        assert calls == ["sync a"]
        assert not Files().lock(another)
        file.write(b"x")
        assert (a / "x").read_bytes() == b"", "nothing reaches the file between two syncs"
        Files().sync(file)
        assert calls == ["sync a", "sync a/x"]
        assert (a / "x").read_bytes() == b"x"


def test_a_deletion_and_a_new_folder_are_synced(calls: list[str], folders: tuple[Path, Path]) -> None:
    a, _ = folders
    (a / "x").write_text("x")
    Files().remove(a / "x")
    Files().prepare([a / "c", a / "c" / "d"])
    assert calls == ["sync a", "sync a", "sync a/c"]
