"""Keeps the spool: recovers what was cut off, makes room, counts what was lost. For one thread at a time."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from runtime.spool.files import Files
from runtime.spool.index import Facts, Index
from runtime.spool.layout import OPEN, SUFFIX, Class, Entry, Reason, State, folders, free_name, parse
from runtime.spool.recover import recover
from runtime.spool.retention import Caps, next_to_go

Tell = Callable[..., None]
"""Takes an event: its name, its message, its level and its fields."""
_NO_ROOM = "spool.no_room"
_TOLD_MAX, _TOLD_LENGTH = 5, 400
_RECOVER = "recover "


class Keeper:
    """The only one who changes a segment once its recorder has left it."""

    def __init__(self, root: Path, caps: Caps, files: Files, tell: Tell) -> None:
        self._root = root
        self._caps = caps
        self._files = files
        self._tell = tell
        self._index = Index(None)
        self._facts: dict[str, Facts] = {}
        self._seen: dict[tuple[State, Class], dict[str, Entry | None]] = {}
        """What each file of each folder was at the last look; None for a foreign one."""
        self._emptied: set[str] = set()
        """Files in `lost` that take no room any more."""
        self._trouble: dict[str, str] = {}
        """What does not work at the moment, and is told already."""
        self.entries: list[Entry] = []
        """All segments that are whole, and all that were lost, as they were at the end of the last look."""
        self.open_bytes = 0
        """Size of what is being written."""
        self.busy: set[str] = set()
        """Names of the segments that are on their way to the server: they do not go meanwhile."""

    @property
    def trouble(self) -> list[str]:
        """What does not work at the moment, in sentences; not more than a few."""
        return [told[:_TOLD_LENGTH] for told in self._trouble.values()][:_TOLD_MAX]

    def begin(self) -> None:
        """Make the folders. Raises OSError."""
        self._files.prepare(folders(self._root))
        self._index.close()
        self._index = Index(self._root / "index.sqlite")

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()

    def look(self) -> None:
        """One round. A disk that fails is told once, and tried again with the next look."""
        self._guard("recover", self._recover_all)
        self._guard("delete", self._finish_losses)
        self._guard("scan", self._scan)
        self._guard("make room", self._make_room)

    def _guard(self, what: str, step: Callable[[], None]) -> None:
        try:
            step()
        except OSError as error:
            # A file that comes and goes in the meantime is no trouble.
            if error.errno != errno.ENOENT or not self._root.is_dir():
                told = f"cannot {what} in {error.filename or self._root}: {error.strerror or error}"
                self._complain(what, "spool.failed", f"{told}; it is tried again", level="error")
        else:
            self._trouble.pop(what, None)

    def _complain(self, what: str, name: str, message: str, level: str) -> None:
        if self._trouble.get(what) != message:
            self._trouble[what] = message
            self._tell(name, message, level)

    # What was cut off

    def _recover_all(self) -> None:
        """Everything in `open`, and what a release without a spool has left beside it, that nobody is writing."""
        self.open_bytes = 0
        before = {what for what in self._trouble if what.startswith(_RECOVER)}
        for folder in (self._root / OPEN, self._root):
            for file, size in list(self._files.scan(folder)):
                if file.endswith(SUFFIX) and "." not in file.removesuffix(SUFFIX):
                    # One by one: a file that cannot be recovered does not keep the others.
                    before.discard(f"{_RECOVER}{file}")
                    self._guard(f"{_RECOVER}{file}", partial(self._recover, folder / file, size))
        for what in before:  # of files that are not there any more
            del self._trouble[what]

    def _recover(self, path: Path, size: int) -> None:
        with self._files.edit(path) as file:
            if not self._files.lock(file):
                self.open_bytes += size
                return
            if not path.exists():  # its recorder has moved it before we had the lock
                return
            name = path.name.removesuffix(SUFFIX)
            found = recover(file)
            self._files.sync(file)
            if found.messages:
                name = free_name(self._root, name, path)
                target = Entry(self._root, State.READY, found.kind, name, file.seek(0, 2))
                self._files.move(path, target.path)
                self._tell(
                    "spool.recovered",
                    f"{name} had no end: {found.messages} messages are recovered, {found.cut} bytes at its end "
                    "were no whole chunk",
                    "warning" if found.cut else "info",
                    segment=name,
                    kind=str(found.kind),
                    messages=found.messages,
                    cut_bytes=found.cut,
                )
            elif found.cut:
                self._lose(path, Entry(self._root, State.LOST, Class.BULK, name, size, reason=Reason.UNREADABLE))
            else:
                self._files.remove(path)

    # Room

    def _scan(self) -> None:
        seen = {(state, kind): self._entries_in(state, kind) for state in State for kind in Class}
        entries = [entry for found in seen.values() for entry in found.values() if entry is not None]
        self._look_into(entries)
        self._seen, self.entries = seen, entries

    def _entries_in(self, state: State, kind: Class) -> dict[str, Entry | None]:
        """What the files in a folder are. The names are asked for every time; the size of what is whole stays."""
        before = self._seen.get((state, kind), {})
        return {
            file: before[file] if file in before else parse(self._root, state, kind, file, size)
            for file, size in self._files.scan(self._root / state / kind, before)
        }

    def _look_into(self, entries: list[Entry]) -> None:
        """Take the facts of all segments from the index, and have it forget the others."""
        here = {entry.name: entry for entry in entries if entry.reason is None}
        if gone := self._facts.keys() - here.keys():
            self._index.forget(set(here))
            for name in gone:
                del self._facts[name]
        for name in here.keys() - self._facts.keys():
            self._facts[name] = self._index.facts(here[name])

    def _make_room(self) -> None:
        while True:
            here = [entry for entry in self.entries if entry.reason is None]
            used = sum(entry.bytes for entry in here) + self.open_bytes
            free = self._files.free(self._root)
            going = next_to_go([e for e in here if e.name not in self.busy], used, free, self._caps)
            if going is None:
                break
            entry, reason = going
            if entry.state == State.SENT:
                self._files.remove(entry.path)
                self.entries = [e for e in self.entries if e != entry]
                continue
            lost = Entry(self._root, State.LOST, entry.kind, entry.name, entry.bytes, reason=reason)
            self._lose(entry.path, lost)
            self.entries = [e for e in self.entries if e != entry] + [lost]
        if used > self._caps.size_max or free < self._caps.free_min:
            self._complain("room", _NO_ROOM, self._no_room(used, free), level="warning")
        else:
            self._trouble.pop("room", None)

    def _no_room(self, used: int, free: int) -> str:
        found = (
            f"the segments take {used / 1e9:.3g} GB, more than spool.size_max ({self._caps.size_max / 1e9:.3g} GB)"
            if used > self._caps.size_max
            else f"the disk has less room left than spool.free_min ({self._caps.free_min / 1e9:.3g} GB)"
        )
        return f"{found}, and no segment is left that may go; upload them, or make room on {self._root}"

    def _lose(self, path: Path, lost: Entry) -> None:
        """Renamed first: then it is counted, whatever comes. Renaming takes no room on a full disk."""
        self._files.move(path, lost.path)
        self._finish_loss(lost)

    def _finish_losses(self) -> None:
        """Those that were renamed and, because of a power cut or of the disk, not emptied."""
        emptied = set()
        for kind in Class:
            for file, size in list(self._files.scan(self._root / State.LOST / kind, self._emptied)):
                if size > 0 and (lost := parse(self._root, State.LOST, kind, file, size)) is not None:
                    self._finish_loss(lost)
                emptied.add(file)
        self._emptied = emptied

    def _finish_loss(self, lost: Entry) -> None:
        self._files.empty(lost.path)
        why = {
            Reason.SIZE_MAX: "the segments took more room than spool.size_max",
            Reason.FREE_MIN: "the disk had less room left than spool.free_min",
            Reason.UNREADABLE: "it held no whole chunk",
        }
        assert lost.reason is not None
        self._tell(
            "spool.lost",
            f"{lost.name} ({lost.kind}, {lost.bytes} bytes) is lost before it was uploaded: {why[lost.reason]}",
            "error" if lost.kind == Class.SAFETY else "warning",
            segment=lost.name,
            kind=str(lost.kind),
            bytes=lost.bytes,
            reason=str(lost.reason),
        )

    # What the server has

    def settle(self, entry: Entry) -> None:
        """Whatever comes, the segment is found in this folder, whose class goes into its key. Raises OSError."""
        self._files.sync_folder(entry.path.parent)

    def confirmed(self, entry: Entry) -> None:
        """The server has a segment, or knows of a loss. Raises OSError."""
        state = State.SENT if entry.reason is None else State.REPORTED
        for there in (entry, replace(entry, kept=True)):  # an operator may have marked it meanwhile
            if there.path.exists():
                moved = replace(there, state=state)
                self._files.move(there.path, moved.path)
                others = [e for e in self.entries if (e.name, e.state) != (entry.name, entry.state)]
                self.entries = [*others, moved]

    def keep(self, name: str) -> bool:
        """Never delete a segment; False when there is none of this name. Raises OSError."""
        self._scan()
        for entry in self.entries:
            if entry.name == name and entry.reason is None:
                if not entry.kept:
                    self._files.move(entry.path, replace(entry, kept=True).path)
                    self._scan()
                return True
        return False

    def facts(self, entry: Entry) -> Facts:
        """What a segment holds. Raises OSError when it is not there."""
        if entry.name not in self._facts:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(entry.path))
        return self._facts[entry.name]

    # What there is

    def status(self) -> dict[str, Any]:
        """Counts and bytes, by state and class, of what is there; by reason and class of what was lost."""
        states: dict[str, dict[str, dict[str, int]]] = {}
        for entry in self.entries:
            first = str(entry.state if entry.reason is None else State.LOST)
            count = states.setdefault(first, {}).setdefault(str(entry.kind), {"segments": 0, "bytes": 0})
            count["segments"] += 1
            count["bytes"] += entry.bytes
            if entry.reason is None and (facts := self._facts.get(entry.name)):
                count["oldest_ns"] = min(facts.first_ns, count.get("oldest_ns", facts.first_ns))
        reasons: dict[str, int] = {}
        for entry in self.entries:
            if entry.reason is not None:
                reasons[str(entry.reason)] = reasons.get(str(entry.reason), 0) + 1
        return {
            "ready": states.get(State.READY, {}),
            "sent": states.get(State.SENT, {}),
            "lost": states.get(State.LOST, {}),
            "lost_why": reasons,
            "open_bytes": self.open_bytes,
            "trouble": self.trouble,
        }
