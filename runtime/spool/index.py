"""What is known of each segment without opening its file: a cache in SQLite.

The files are the truth. A row counts only for a file of the same size and time; a missing, old or damaged database
costs one more look at the files, nothing else.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mcap.exceptions import McapError
from mcap.reader import make_reader

from runtime.recording.episode import METADATA
from runtime.spool.layout import Entry

_TABLE = (
    "CREATE TABLE IF NOT EXISTS segments (name TEXT PRIMARY KEY, bytes INTEGER, mtime_ns INTEGER, "
    "first_ns INTEGER, last_ns INTEGER, messages INTEGER, episode TEXT)"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a segment holds, from its summary."""

    first_ns: int
    """Wall time of its first message, ns since the epoch."""
    last_ns: int
    messages: int
    episode: dict[str, str] = field(default_factory=dict)
    """The metadata record of its episode; empty when it is of none."""


class Index:
    """The cache. Its own troubles (a full disk, a damaged database) are never raised: it forgets instead."""

    def __init__(self, path: Path | None) -> None:
        """`path`: of the database; None for one in memory."""
        self._database = _memory() if path is None else _open(path)

    def facts(self, entry: Entry) -> Facts:
        """The facts of a segment that is there. Raises OSError."""
        mtime_ns = entry.path.stat().st_mtime_ns
        row = self._ask(
            "SELECT first_ns, last_ns, messages, episode FROM segments "
            "WHERE name = ? AND bytes = ? AND mtime_ns = ?",
            (entry.name, entry.bytes, mtime_ns),
        )
        if row:
            first_ns, last_ns, messages, episode = row[0]
            return Facts(first_ns, last_ns, messages, json.loads(episode))
        facts = read_facts(entry.path)
        self._ask(
            "INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                entry.name,
                entry.bytes,
                mtime_ns,
                facts.first_ns,
                facts.last_ns,
                facts.messages,
                json.dumps(facts.episode),
            ),
        )
        return facts

    def forget(self, names: set[str]) -> None:
        """Drop the rows of all segments but these."""
        gone = {str(name) for (name,) in self._ask("SELECT name FROM segments", ())} - names
        for name in gone:
            self._ask("DELETE FROM segments WHERE name = ?", (name,))

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def _ask(self, text: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            with closing(self._database.execute(text, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error:
            self._database.close()
            self._database = _memory()
            return []


def read_facts(path: Path) -> Facts:
    """The facts from the file itself; zeros of one that is no recording. Raises OSError."""
    with path.open("rb") as file:
        try:
            reader = make_reader(file)
            summary = reader.get_summary()
            episodes = [record.metadata for record in reader.iter_metadata() if record.name == METADATA]
        except (McapError, ValueError, struct.error):
            summary = None
    if summary is None or summary.statistics is None:
        return Facts(0, 0, 0)
    told = summary.statistics
    episode = episodes[-1] if episodes else {}
    return Facts(told.message_start_time, told.message_end_time, told.message_count, episode)


def _memory() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    database.execute(_TABLE)
    return database


def _open(path: Path) -> sqlite3.Connection:
    for _ in range(2):
        with suppress(sqlite3.Error):
            database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            try:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute("PRAGMA synchronous = NORMAL")
                database.execute(_TABLE)
                database.execute("SELECT episode, messages, last_ns, first_ns, mtime_ns, bytes FROM segments")
                return database
            except sqlite3.Error:
                database.close()
                raise
        for suffix in ("", "-wal", "-shm"):
            with suppress(OSError):
                path.with_name(path.name + suffix).unlink()
    return _memory()
