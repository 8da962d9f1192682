"""The contactor's feedback: whether motor power does what drive-enable says (external device monitoring).

A relay can weld shut or stick open. Its mirror contact tells, and has to follow drive-enable within a time, both
ways. One that does not is a fault until it does.
"""

from __future__ import annotations

from drivers.line import InputLine
from safety.recovery import LINE_FAILURES, Recovery, Tell


class Feedback:
    """Compares the contact with what is driven. The safety thread calls `look` in every round."""

    def __init__(self, line: InputLine | None, within_s: float, tell: Tell) -> None:
        """`line`: active while motor power flows; None for a robot without one, which is believed."""
        self.problem = ""
        """Why the contact cannot be believed or does not obey, one sentence; empty while all is well."""
        self.closed = False
        """The contact as last read: motor power flows."""
        self._line = line
        self._within_ns = round(within_s * 1e9)
        self._recovery = Recovery("the drive-enable feedback line", line, lambda: line and line.read(), tell)
        self._driven = False
        self._since_ns: int | None = None

    def follows(self, driven: bool) -> bool:
        """Whether the contact is where `driven` wants it."""
        return self._line is None or (not self._recovery.problem and self.closed == driven)

    def look(self, now_ns: int, driven: bool) -> None:
        """Read the contact. `now_ns`: CLOCK_MONOTONIC, ns; `driven`: drive-enable is active."""
        if self._line is None:
            return
        if not self._recovery.problem:
            try:
                self.closed = self._line.read()
            except LINE_FAILURES as error:
                self._recovery.lose(error)
        if self._recovery.problem:
            self.problem = f"the drive-enable feedback line is gone: {self._recovery.problem}"
            return
        if self.closed == driven:
            self._since_ns, self.problem = None, ""
            return
        if self._since_ns is None or driven != self._driven:
            self._since_ns, self._driven = now_ns, driven
        if now_ns - self._since_ns > self._within_ns:
            told = (
                "has not closed: it is stuck, or its supply is off" if driven else "has not opened: it is welded"
            )
            self.problem = (
                f"the contactor {told} (its feedback has {self._within_ns / 1e9:g} s to follow drive-enable)"
            )

    def step(self, now_ns: int) -> None:
        """Try to have a lost line again; after everything else, because nothing waits for it."""
        self._recovery.step(now_ns)
