"""Episodes as the daemon sees them: the operator's verbs, and what the tick records of them."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from runtime.control.modes import ENERGISED, LATCHED, Mode
from runtime.events import Events, Level
from runtime.link.errors import Refused
from runtime.policy.tasks import Task
from runtime.recording.episode import DISCARDED, FAILURE, SUCCESS, Episode
from runtime.recording.recorder import Recorder

_STARTS = frozenset({Mode.HOLD, Mode.AUTO, Mode.MANUAL})
_ENDS = {"success": SUCCESS, "failure": FAILURE, "discard": DISCARDED, "cut_off": ""}
"""What ends an episode, and the outcome that it has then."""
_NOTE_MAX = 200
"""Characters of a note."""
_NOTES_MAX, _INTERVENTIONS_MAX = 100, 1000
"""In one episode: all of them have to fit into one message."""
_DAEMON = "reflexd"
"""Who marks a stop, and cuts off."""


class Episodes:
    """At most one is open. All methods run on the loop's thread and never wait; verbs raise Refused."""

    def __init__(
        self,
        robot: str,
        recorder: Recorder | None,
        events: Events,
        longest_s: float,
        marks_alone: bool,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`longest_s`: an episode that is open for so long is cut off: somebody has forgotten it. `marks_alone`: a
        mark means something although no episode is open."""
        self.number = 0
        """Of the open episode; 0 while none is."""
        self.mover = ""
        """The operator who has moved the robot by hand last."""
        self._robot = robot
        self._recorder = recorder
        self._events = events
        self._longest_ns = round(longest_s * 1e9)
        self._marks_alone = marks_alone
        self._clock = clock
        self._count = 0
        self._open: Episode | None = None
        self._mode = Mode.OFF
        self._policy_ran = False
        """The policy has moved the robot in this episode; outside of one, since it was armed."""
        self._since_ns: int | None = None
        """Since when an operator intervenes; None: nobody does."""

    # The tick

    def flags(self, mode: Mode, now_ns: int) -> tuple[int, int]:
        """What this tick records: the number of the open episode, and 1 while an operator intervenes."""
        if mode is not self._mode:
            self._change(mode, now_ns)
        return self.number, self._since_ns is not None

    def _change(self, mode: Mode, now_ns: int) -> None:
        self._mode = mode
        self._end_intervention(now_ns)
        if mode is Mode.AUTO:
            self._policy_ran = True
        elif mode is Mode.MANUAL and self._policy_ran:
            self._since_ns = now_ns
        elif mode not in ENERGISED and self._open is None:
            self._policy_ran = False
        if mode in LATCHED and self._open is not None and len(self._open.notes) < _NOTES_MAX:
            self._mark(self._open, f"the robot was stopped: {mode.name}", _DAEMON)

    def _end_intervention(self, now_ns: int) -> None:
        episode = self._open
        if self._since_ns is not None and episode is not None and len(episode.interventions) < _INTERVENTIONS_MAX:
            episode.interventions.append((self._since_ns, now_ns, self.mover))
            self._tell("update", episode)
        self._since_ns = None

    # The operator's verbs

    def check_start(self) -> None:
        """Refuse an episode that cannot begin now."""
        if self._recorder is None:
            raise Refused("episode", "nothing is recorded: recording.enabled is false")
        if self._open is not None:
            last = "end it first with success, failure or discard"
            raise Refused("episode", f"episode {self._open.id} is open; {last}")
        if self._recorder.failed:
            raise Refused("episode", f"nothing is recorded: {self._recorder.failed}")
        if self._mode not in _STARTS:
            expected = ", ".join(mode.name for mode in sorted(_STARTS))
            raise Refused("mode", f"found mode {self._mode.name}, expected one of {expected}: arm the robot first")

    def start(self, task: Task, by: str) -> dict[str, Any]:
        """Begin an episode; `by`: the operator."""
        self.check_start()
        now_ns, wall_ns = self._clock(), time.time_ns()
        self._end_intervention(now_ns)
        self._policy_ran = self._mode is Mode.AUTO
        self._count += 1
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(wall_ns // 1_000_000_000))
        # A clock that was set back gives the same time twice.
        name = f"{self._robot}-{stamp}-{secrets.token_hex(2)}"
        self._open = episode = Episode(name, self._count, task.name, task.prompt, now_ns, wall_ns)
        self.number = episode.number
        self._tell("start", episode, by=by, at=(now_ns, wall_ns))
        words = f", task {task}" if task.name or task.prompt else ""
        self._emit("episode.start", f"{by} begins the episode {name}{words}", episode, by)
        return self._told(episode)

    def end(self, verb: str, by: str, note: str = "") -> dict[str, Any]:
        """End the open episode: `success`, `failure`, `discard`, or `cut_off` with the reason as `note`."""
        if self._open is None:
            raise Refused("episode", f"{verb}: no episode is open; `reflexctl episode start` begins one")
        now_ns, wall_ns = self._clock(), time.time_ns()
        self._end_intervention(now_ns)
        episode, self._open, self.number = self._open, None, 0
        episode.ended_mono_ns, episode.ended_wall_ns = now_ns, wall_ns
        episode.outcome = _ENDS[verb]
        self._policy_ran = self._mode is Mode.AUTO
        self._tell(verb, episode, note, by, (now_ns, wall_ns))
        duration_s = (now_ns - episode.started_mono_ns) / 1e9
        words = f"{by} ends the episode {episode.id} after {duration_s:.1f} s: {episode.outcome}"
        if not episode.outcome:
            words = f"the episode {episode.id} is cut off after {duration_s:.1f} s and has no outcome: {note}"
        self._emit(f"episode.{verb}", words, episode, by, "info" if episode.outcome else "warning")
        return self._told(episode)

    def mark(self, note: str, by: str) -> dict[str, Any] | None:
        """Mark this moment with a note."""
        if not note.strip() or len(note) > _NOTE_MAX or not note.isprintable():
            told = f"note: found {len(note)} characters, expected one line of 1 to {_NOTE_MAX}"
            raise Refused("bad_request", told)
        if self._recorder is None:
            raise Refused("episode", "nothing is recorded: recording.enabled is false")
        if self._open is None and not self._marks_alone:
            raise Refused("episode", "mark: no episode is open, and recording.mode keeps nothing else")
        if self._open is not None and len(self._open.notes) >= _NOTES_MAX:
            raise Refused("episode", f"mark: the episode {self._open.id} has {_NOTES_MAX} marks already; end it")
        self._mark(self._open, note, by)
        return self._told(self._open) if self._open is not None else None

    def cut_off(self, why: str) -> None:
        """End the open episode without an outcome, if there is one."""
        if self._open is not None:
            self.end("cut_off", _DAEMON, why)

    def look(self) -> None:
        """Cut off what somebody has forgotten. Call it about once a second."""
        if self._open is not None and self._clock() - self._open.started_mono_ns > self._longest_ns:
            self.cut_off(f"it was open for {self._longest_ns / 60e9:g} min, recording.episode_minutes")

    def status(self) -> dict[str, Any] | None:
        """The open episode; see docs/control-socket.md."""
        return self._told(self._open) if self._open is not None else None

    def _mark(self, episode: Episode | None, note: str, by: str) -> None:
        now_ns = self._clock()
        if episode is not None:
            episode.notes.append((now_ns, note, by))
        self._tell("mark", episode, note, by)
        self._emit("episode.mark", f"{by} marks: {note}", episode, by)

    def _tell(
        self, action: str, episode: Episode | None, note: str = "", by: str = "", at: tuple[int, int] | None = None
    ) -> None:
        if self._recorder is not None:
            self._recorder.add_episode(action, episode, at or (self._clock(), time.time_ns()), note, by)

    def _emit(self, name: str, message: str, episode: Episode | None, by: str, level: Level = "info") -> None:
        about = {"episode": episode.id} if episode is not None else {}
        self._events.emit(name, message, level, by=by, **about)

    def _told(self, episode: Episode) -> dict[str, Any]:
        return {
            "id": episode.id,
            "number": episode.number,
            "task": episode.task or None,
            "prompt": episode.prompt or None,
            "started_ns": episode.started_wall_ns,
            "interventions": len(episode.interventions) + (self._since_ns is not None),
            "notes": len(episode.notes),
        }
