"""The e-stop's line, read so that nothing but a closed contact that lasts counts as released."""

from __future__ import annotations

from typing import Literal

from drivers.line import InputLine
from safety.channels import TwoChannels
from safety.recovery import LINE_FAILURES, Recovery, Tell

EstopState = Literal["none", "released", "pressed"]


class Estop:
    """One e-stop, of one channel or two. The safety thread calls `read` in every round."""

    def __init__(self, line: InputLine | None, release_s: float, tell: Tell) -> None:
        """`line`: active while released, None for a robot without one. `release_s`: how long a release lasts."""
        self.state: EstopState = "none" if line is None else "pressed"
        """As last read; a line that is gone counts as pressed."""
        self.pulse = False
        """At the last reading it had been pressed and let go since the one before."""
        self._line = line
        self._channels = line if isinstance(line, TwoChannels) else None
        self._recovery = Recovery("the e-stop line", line, lambda: line and line.read(), tell)
        self._release_ns = round(release_s * 1e9)
        self._closed, self._closed_ns = True, -self._release_ns  # at the start it counts as it is

    @property
    def problem(self) -> str:
        """Why the line is gone; empty while it is there."""
        return self._recovery.problem

    @property
    def channels_problem(self) -> str:
        """How the two channels differ; empty while they agree, or there is only one."""
        return self._channels.problem if self._channels is not None else ""

    def read(self, now_ns: int, edge: bool) -> bool:
        """Read the line. Returns whether it has just been released.

        `now_ns`: CLOCK_MONOTONIC, ns; `edge`: the line had an edge.
        """
        self.pulse = False
        if self._line is None or self.problem:
            return False
        try:
            # Active is a closed contact: a cut wire reads as pressed.
            closed = self._line.read()
        except LINE_FAILURES as error:
            self.lose(error)
            return False
        if self._channels is not None:
            self._channels.judge(now_ns)
        # A contact that bounces delays the release, never the press.
        if edge or not (closed and self._closed):
            self._closed_ns = now_ns
        self._closed = closed
        waits = self.state == "pressed" and now_ns - self._closed_ns < self._release_ns
        before, self.state = self.state, "released" if closed and not waits else "pressed"
        # An edge between two readings of `released` is a press that was let go.
        self.pulse = edge and before == self.state == "released"
        return before != self.state == "released"

    def lose(self, error: Exception | str) -> None:
        """The line is gone: it counts as pressed from now on."""
        self._recovery.lose(error)
        self.state, self._closed = "pressed", False

    def step(self, now_ns: int) -> None:
        """Try to have a lost line again; after everything else, because nothing waits for it."""
        self._recovery.step(now_ns)
