"""The power fails before every single operation of the spool, on a disk that forgets what was not synced."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from runtime.spool.files import Files
from runtime.spool.keeper import Keeper
from runtime.spool.layout import Class, State, folders
from runtime.spool.retention import Caps
from tests.spool.disk import ForgetfulFiles, PowerCut
from tests.spool.segments import make_segment, numbers, tree

DATA, ENDS = make_segment()
CAPS = Caps(4 * len(DATA), 0)
SEGMENTS = {"r-1", "r-2", "r-3", "r-4", "r-5", "r-6"}


def fill(root: Path) -> None:
    Files().prepare(folders(root))
    (root / "open/r-1.mcap").write_bytes(DATA[: ENDS[1] + 10])
    (root / "open/r-2.mcap").write_bytes(DATA)
    (root / "sent/bulk/r-3.mcap").write_bytes(DATA)
    (root / "ready/bulk/r-4.mcap").write_bytes(DATA)
    (root / "ready/failure/r-5.mcap").write_bytes(DATA)
    (root / "ready/safety/r-6.mcap").write_bytes(DATA)


def look(root: Path, files: Files, told: list[str]) -> None:
    def tell(name: str, message: str, level: str, **fields: Any) -> None:
        told.append(name)

    keeper = Keeper(root, CAPS, files, tell)
    keeper.begin()
    keeper.look()


def places(root: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in tree(root):
        found.setdefault(Path(path).name.partition(".")[0], []).append(path)
    return found


def cut(tmp_path: Path, after: int) -> tuple[Path, bool]:
    """What the disk holds when the power fails after so many operations, and whether it did."""
    root, durable = tmp_path / f"now{after}", tmp_path / f"disk{after}"
    fill(root)
    shutil.copytree(root, durable)
    files = ForgetfulFiles(root, durable)
    files.cut_after = after
    try:
        look(root, files, [])
    except PowerCut:
        return durable, True
    return durable, False


def test_the_power_fails_before_every_operation(tmp_path: Path) -> None:
    after = 0
    while True:
        disk, failed = cut(tmp_path, after)
        before = places(disk)
        assert all(len(paths) == 1 for paths in before.values()), f"{after}: each is in one place: {before}"
        assert before.keys() >= SEGMENTS - {"r-3"}, f"{after}: none is gone but the one that the server has"
        look(disk, Files(), [])
        again = places(disk)
        assert again.keys() >= SEGMENTS - {"r-3"}, after
        for path in disk.glob("ready/*/*"):
            expected = 8 if path.name.startswith("r-1") else 12
            assert numbers(path.read_bytes()) == list(range(expected)), (after, path)
        assert all(path.stat().st_size == 0 for path in disk.glob("lost/*/*")), after
        assert (disk / "ready/safety/r-6.mcap").exists()
        assert not list((disk / "open").iterdir())
        if not failed:
            break
        after += 1
    assert after > 10, "it did something"


@pytest.mark.parametrize("state", [State.READY, State.SENT])
def test_the_forgetful_disk_does_forget(tmp_path: Path, state: State) -> None:
    root, durable = tmp_path / "now", tmp_path / "disk"
    fill(root)
    shutil.copytree(root, durable)
    files = ForgetfulFiles(root, durable)
    files.cut_after = 1
    source = root / "ready/bulk/r-4.mcap"
    with pytest.raises(PowerCut):
        files.move(source, root / state / Class.SAFETY / "r-4.mcap")
    assert (durable / "ready/bulk/r-4.mcap").exists(), "renamed, and the folders not synced"
