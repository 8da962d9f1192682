"""Disks that fail and disks that forget, in place of the real one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from runtime.spool.files import Files

CHANGES = ("prepare", "create", "edit", "sync", "move", "empty", "remove")


class FailingFiles(Files):
    """A disk that `trouble` asks before each operation: it may raise OSError."""

    def __init__(self) -> None:
        self.trouble: Callable[[str], None] = lambda operation: None
        self.operations: list[str] = []
        self.room = 10**12

    def free(self, folder: Path) -> int:
        return self.room

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in CHANGES:
            self.operations.append(name)
            self.trouble(name)
        return found


class PowerCut(Exception):
    """The power fails before an operation."""


class ForgetfulFiles(Files):
    """A disk with a write cache: what was not synced is gone after the power was cut.

    It keeps a copy of the spool as it would be found: names change there when their folders are synced, contents
    when a file is. `cut_after`: operations until the power fails.
    """

    def __init__(self, root: Path, durable: Path) -> None:
        self._root = root
        self._durable = durable
        self.cut_after = -1
        self._moves: list[tuple[Path, Path]] = []

    def _step(self) -> None:
        if self.cut_after == 0:
            raise PowerCut
        self.cut_after -= 1

    def _there(self, path: Path) -> Path:
        return self._durable / path.relative_to(self._root)

    def prepare(self, folders: list[Path]) -> None:
        super().prepare(folders)
        for folder in folders:
            self._there(folder).mkdir(exist_ok=True)

    def create(self, path: Path) -> BinaryIO:
        self._step()
        file = super().create(path)
        self._there(path).touch()
        return file

    def sync(self, file: Any) -> None:
        self._step()
        super().sync(file)
        # The name that is durable may be another one than that of now: the content belongs to the inode.
        self._there(Path(os.readlink(f"/proc/self/fd/{file.fileno()}"))).write_bytes(Path(file.name).read_bytes())

    def move(self, source: Path, target: Path) -> None:
        self._step()
        super().move(source, target)
        shutil.copy(target, self._there(source))  # it is synced before
        self._step()  # the rename itself may be lost
        self._there(source).rename(self._there(target))

    def empty(self, path: Path) -> None:
        self._step()
        super().empty(path)
        self._step()  # nobody has synced it
        self._there(path).write_bytes(b"")

    def remove(self, path: Path) -> None:
        self._step()
        super().remove(path)
        self._step()
        self._there(path).unlink(missing_ok=True)
