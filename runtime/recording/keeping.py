"""What becomes of segments: when each ends, which are kept, and as what.

In the mode `always` a segment is ready as soon as it ends. In the others it is undecided until something asks for
it: the newest ones are a ring, and older ones go. Those of an episode wait for its outcome in every mode. Whatever
is undecided lies in `open`, locked: a crash leaves it to the spool, which keeps it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from runtime.events import stops_robot
from runtime.recording.contract import INFO, KeepRules
from runtime.recording.episode import BAD, DISCARDED, FAILURE, GOOD, METADATA, SUCCESS, Episode
from runtime.recording.gates import Gates
from runtime.recording.quality.frame import FrameQuality
from runtime.recording.quality.statistics import Statistics
from runtime.recording.segment import Segment
from runtime.recording.triggers import Triggers
from runtime.spool.files import Files
from runtime.spool.layout import OPEN, Class, Entry, State, whole

AROUND_S = 10.0
"""A segment is not ended within this time after something has stopped the robot: what came after stays with it."""
_LONGER_S = 60.0
"""A segment gets longer than it should be by this at most, however often something stops the robot."""
_TEXT_MAX = 2000
"""Characters of an event: it has to fit into what the daemon takes (`runtime.child.process.MESSAGE_MAX`)."""
_PIECES = 6
"""The ring is made of so many segments, and one that is being written."""

Tell = Callable[..., None]
"""Takes an event: its name, its message, its level and its fields."""


@dataclass
class Piece:
    """A segment that is being written, or not decided yet."""

    name: str
    path: Path
    file: BinaryIO
    segment: Segment
    started_s: float
    part: int = 0
    """Which part of the open episode it is, from 1 on; 0: of none."""
    asked: Class | None = None
    """As what a trigger has asked for it."""
    stopped: bool = False
    """Something has stopped the robot."""
    intervened: bool = False
    ended_s: float = 0.0
    counted: int = 0
    """Bytes that were told to be in the file."""

    @property
    def kind(self) -> Class:
        """Its class, unless it is of an episode."""
        found = [self.asked or Class.BULK]
        found += [Class.SAFETY] if self.stopped else []
        found += [Class.INTERVENTION] if self.intervened else []
        return max(found, key=lambda kind: kind.worth)


class Keeping:
    """Decides. Every method raises OSError when the disk fails. Times in s are CLOCK_MONOTONIC."""

    def __init__(
        self,
        root: Path,
        rules: KeepRules,
        gates: Gates,
        files: Files,
        tell: Tell,
        count: Callable[[int], None],
    ) -> None:
        """`count`: told of bytes that are in a file from now on; whatever was taken from the ring is there."""
        self.episode: Episode | None = None
        """The open one."""
        self.statistics: Statistics | None = None
        """Its numbers."""
        self._root = root
        self._rules = rules
        self._gates = gates
        self._files = files
        self._tell = tell
        self._count = count
        self._rolling = rules.mode != "always"
        self._triggers = Triggers(rules.window_s, rules.limits, rules.uncertainty)
        self._now: Piece | None = None
        self._ring: list[Piece] = []
        self._parts: list[Piece] = []
        self._stopped_s = -math.inf
        """When something last stopped the robot."""
        self._asked: Class | None = None
        self._asked_until_s = -math.inf
        """Until then everything is kept, as this class."""
        self._interrupted = False
        """Another recorder has begun the open episode."""
        self._last_ns = 0
        """Time of the newest tick."""

    # Segments

    def begin(self, name: str, definition: str, metadata: Mapping[str, str], part: int, now_s: float) -> Piece:
        """A new segment. `part`: of the open episode, if there is one."""
        path = self._root / OPEN / whole(name)
        file = self._files.create(path)
        self._now = piece = Piece(name, path, file, Segment(file, definition, metadata), now_s)
        if now_s < self._asked_until_s:
            piece.asked = self._asked
        if self.episode is not None:
            self._join(piece, self.episode, part)
        return piece

    def is_over(self, now_s: float) -> bool:
        """Whether the segment that is being written ends now."""
        piece, rules = self._piece, self._rules
        due_s = piece.started_s + rules.segment_s
        if self._rolling and not piece.part:
            if piece.asked is not None:
                due_s = min(due_s, self._asked_until_s)
            else:
                due_s = piece.started_s + rules.ring_s / _PIECES
        return is_over(due_s, self._stopped_s, now_s)

    def close(self, now_s: float) -> None:
        """The segment gets nothing more, and all it has got is on the disk."""
        piece, self._now = self._piece, None
        piece.ended_s = now_s
        if piece.part:
            self._parts.append(piece)
        else:
            self._finish(piece)
            if self._rolling and piece.asked is None:
                self._ring.append(piece)
            else:
                self._seal(piece, piece.kind)
        while self._ring and self._ring[0].ended_s < now_s - self._rules.ring_s:
            self._drop(self._ring.pop(0))

    def end(self, clean: bool, now_s: float) -> None:
        """Nothing is recorded any more. `clean`: the daemon has said so; otherwise it has died."""
        if self.episode is not None:
            self.episode.ended_mono_ns = self._last_ns
            self.episode.ended_wall_ns = self._last_ns + self._parts[-1].segment.wall_minus_mono
            self.end_episode(self.episode, now_s)
        if self._rolling and not clean:
            self._ask(Class.FAILURE, "the daemon has died", now_s)
        for piece in self._ring:
            self._drop(piece)

    # What is in them

    def ticks(self, records: NDArray[np.void], now_s: float) -> None:
        """Records of ticks go into the segment."""
        piece = self._piece
        piece.segment.add_ticks(records)
        if len(records):
            self._last_ns = int(records["mono_ns"][-1])
            if self.statistics is not None:
                self.statistics.add_ticks(records)
            piece.intervened |= bool(records["intervention"].any())
            self._ask_for_ring(self._triggers.ticks(records), now_s)

    def frame(self, camera: str, quality: FrameQuality) -> None:
        """A camera's frame is in the segment."""
        if self.statistics is not None:
            self.statistics.add_frame(camera, quality)

    def message(self, topic: str, mono_ns: int, message: Mapping[str, Any], now_s: float) -> None:
        """An event or a chunk goes into the segment."""
        piece = self._piece
        piece.segment.add_message(topic, mono_ns, message)
        if topic == "/events" and stops_robot(message["name"], message["level"] > INFO):
            piece.stopped = True
            self._stopped_s = mono_ns / 1e9
            if self._rolling:
                self._ask(Class.SAFETY, message["message"], now_s)
        elif topic == "/chunks" and "uncertainty" in message:
            self._ask_for_ring(self._triggers.chunk(mono_ns, message["uncertainty"]), now_s)

    def mark(self, note: str, now_s: float) -> None:
        """An operator has marked this moment."""
        self._ask_for_ring(f"an operator's mark, {note}", now_s)

    # Episodes

    def clock(self, mono_ns: int, wall_ns: int) -> None:
        """What both clocks read."""
        if self.statistics is not None:
            self.statistics.add_clock(mono_ns, wall_ns)

    def start_episode(self, episode: Episode) -> None:
        """The next segment is the first one of an episode."""
        self.episode, self._interrupted = episode, False
        self.statistics = self._gates.begin(episode.started_mono_ns)

    def join(self, episode: Episode, part: int, now_ns: int) -> None:
        """The segment that is being written belongs to an episode that another recorder has begun."""
        self.episode, self._interrupted = episode, True
        self.statistics = self._gates.begin(now_ns)
        self._join(self._piece, episode, part)

    def end_episode(self, episode: Episode, now_s: float) -> None:
        """The open episode has ended with the segment that was closed last; `episode`: all that is known of it."""
        self.episode = None
        statistics, self.statistics = self.statistics, None
        parts, self._parts = self._parts, []
        stopped = any(part.stopped for part in parts)
        if episode.outcome == DISCARDED and not stopped:
            for piece in parts:
                self._drop(piece)
            return
        if episode.outcome in (SUCCESS, FAILURE) and statistics is not None:
            self._judge(episode, statistics, parts[-1])
        kind = episode.kind(stopped)
        # All of them first: what is moved after a crash is moved by what its metadata say.
        for piece in parts:
            self._finish(piece, episode)
        for piece in parts:
            self._seal(piece, kind)
        text = f"episode {episode.id}: {episode.outcome or 'cut off'}, {len(parts)} segments in {kind}"
        if episode.verdict:
            text += f", {episode.verdict}" + "".join(f"; {reason}" for reason in episode.reasons)
        self._tell(
            "episode.verdict",
            text,
            "warning" if episode.verdict == BAD else "info",
            episode=episode.id,
            outcome=episode.outcome,
            verdict=episode.verdict,
            reasons="; ".join(episode.reasons)[:_TEXT_MAX],
            kind=str(kind),
            segments=len(parts),
        )
        if episode.outcome == FAILURE:
            self._ask_for_ring(f"the failure of episode {episode.id}", now_s)

    def _join(self, piece: Piece, episode: Episode, part: int) -> None:
        piece.part = part
        piece.segment.add_metadata(METADATA, episode.metadata(part))

    def _judge(self, episode: Episode, statistics: Statistics, last: Piece) -> None:
        episode.reasons = self._gates.judge(statistics, episode.ended_mono_ns, episode.outcome)
        if self._interrupted:
            episode.reasons.append("its recording was interrupted, and only what came later was judged")
        episode.verdict = BAD if episode.reasons else GOOD
        about = {
            "episode": episode.id,
            "action": "verdict",
            "task": episode.task,
            "prompt": episode.prompt,
            "note": "",
            "by": "reflexd",
            "mono_ns": episode.ended_mono_ns,
            "wall_ns": episode.ended_wall_ns,
            "verdict": episode.verdict,
            "reasons": episode.reasons,
        }
        last.segment.add_message("/episodes", episode.ended_mono_ns, about)

    # Triggers

    def _ask_for_ring(self, why: str, now_s: float) -> None:
        if why and self._rules.mode == "ring":
            self._ask(Class.FAILURE, why, now_s)

    def _ask(self, kind: Class, why: str, now_s: float) -> None:
        """Keep what there is, and what follows for a while."""
        if self._asked is None or now_s >= self._asked_until_s or kind.worth > self._asked.worth:
            self._asked = kind
            text = f"the last {self._rules.ring_s:g} s and what follows are kept as {kind}: {why}"
            self._tell("recording.kept", text, "info", kind=str(kind))
        self._asked_until_s = now_s + self._rules.after_s
        if self._now is not None:
            self._now.asked = self._asked
        ring, self._ring = self._ring, []
        for piece in ring:
            piece.asked = self._asked
            self._seal(piece, piece.kind)

    # Files

    @property
    def _piece(self) -> Piece:
        assert self._now is not None
        return self._now

    def _finish(self, piece: Piece, episode: Episode | None = None) -> None:
        if episode is not None:
            piece.segment.add_metadata(METADATA, episode.metadata(piece.part))
        piece.segment.finish()
        self._files.sync(piece.file)
        self._count(piece.file.tell() - piece.counted)

    def _seal(self, piece: Piece, kind: Class) -> None:
        # Still locked: what is moved is nobody else's business.
        entry = Entry(self._root, State.READY, kind, piece.name, piece.file.tell())
        self._files.move(piece.path, entry.path)
        piece.file.close()

    def _drop(self, piece: Piece) -> None:
        self._files.remove(piece.path)
        piece.file.close()


def is_over(due_s: float, stopped_s: float, now_s: float) -> bool:
    """Whether a segment ends now. `due_s`: when it should; `stopped_s`: when something last stopped the robot."""
    return now_s >= due_s and (now_s >= stopped_s + AROUND_S or now_s >= due_s + _LONGER_S)
