"""What the spool asks of a disk. Whatever changes a file goes through here: a test can break the disk."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Container, Iterator
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO

_BUFFER = 16 * 1024 * 1024
"""A file gets what was written at the moment of a sync, not before; memory is used as far as it is filled."""


class Files:
    """A real disk. Every method raises OSError, and what it has done lasts when it returns, unless it says so."""

    def prepare(self, folders: list[Path]) -> None:
        """Make the folders that are not there, the outer ones first."""
        for folder in folders:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)  # another process may have been quicker
                self.sync_folder(folder.parent)

    def create(self, path: Path) -> BinaryIO:
        """A new file, locked: whoever finds it knows that somebody writes it. Raises FileExistsError."""
        file = path.open("xb", buffering=_BUFFER)
        try:
            # Between the two somebody may have found and taken it.
            if not self.lock(file) or not _is_there(file, path):
                raise FileExistsError(17, "taken by another process", str(path))
            self.sync_folder(path.parent)
        except OSError:
            file.close()
            raise
        return file

    def edit(self, path: Path) -> BufferedRandom:
        """An existing file, to be read and changed in place."""
        return path.open("r+b")

    def claim(self, folder: Path) -> int | None:
        """Take a whole spool until the descriptor is closed; None when another process has it."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def lock(self, file: BinaryIO | BufferedRandom) -> bool:
        """Take an open file until it is closed; False when another process has it."""
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def sync(self, file: BinaryIO | BufferedRandom) -> None:
        """Everything written so far is on the disk."""
        file.flush()
        os.fdatasync(file.fileno())  # only this tells of a disk that takes and loses

    def move(self, source: Path, target: Path) -> None:
        """Give a file another name. Never replaces one: raises FileExistsError."""
        if target.exists():
            raise FileExistsError(17, "there already", str(target))
        with source.open("rb") as file:
            os.fsync(file.fileno())
        os.rename(source, target)
        self.sync_folder(target.parent)
        if source.parent != target.parent:
            self.sync_folder(source.parent)

    def empty(self, path: Path) -> None:
        """Give the room of a file back; its name stays."""
        os.truncate(path, 0)

    def remove(self, path: Path) -> None:
        """Delete a file."""
        path.unlink(missing_ok=True)
        self.sync_folder(path.parent)

    def free(self, folder: Path) -> int:
        """Room on the disk for programs without privileges, bytes."""
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize

    def scan(self, folder: Path, known: Container[str] = ()) -> Iterator[tuple[str, int]]:
        """The files in a folder with their sizes, bytes; -1 for those in `known`, which costs far less."""
        with os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
                    if entry.is_file(follow_symlinks=False):
                        size = -1 if entry.name in known else entry.stat(follow_symlinks=False).st_size
                        yield entry.name, size

    def sync_folder(self, folder: Path) -> None:
        """The names in it are on the disk."""
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_there(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
