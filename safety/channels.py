"""An e-stop with two channels: each has its own contact and wire, so that one fault alone hides no press.

Either one open is a press. That they differ for longer than a button takes is a fault (a welded contact, a shorted
wire): nothing clears it but both open at the same time, which shows that both still can.
"""

from __future__ import annotations

import select

from drivers.line import InputLine


class TwoChannels:
    """Two inputs as one: active while both are. `judge` compares them."""

    def __init__(self, first: InputLine, second: InputLine, discrepancy_s: float) -> None:
        """`discrepancy_s`: how long the two may differ."""
        self.problem = ""
        """Why the channels cannot be believed, one sentence; empty while they can."""
        self._lines = (first, second)
        self._discrepancy_ns = round(discrepancy_s * 1e9)
        self._levels = (False, False)
        self._since_ns: int | None = None
        self._watch()

    def fileno(self) -> int:
        """Descriptor that becomes readable when one of the two does."""
        return self._ready.fileno() if not self._ready.closed else -1

    def read(self) -> bool:
        """Whether both are active. Raises LineError when one of them is gone."""
        first, second = self._lines
        self._levels = first.read(), second.read()
        return all(self._levels)

    def judge(self, now_ns: int) -> None:
        """Compare what was read last. `now_ns`: CLOCK_MONOTONIC, ns."""
        first, second = self._levels
        if first == second:
            self._since_ns = None
            if not first:
                self.problem = ""
            return
        if self._since_ns is None:
            self._since_ns = now_ns
        if now_ns - self._since_ns > self._discrepancy_ns:
            closed, opened = ("first", "second") if first else ("second", "first")
            self.problem = (
                f"the e-stop's channels differ: the {closed} is closed and the {opened} open for more than "
                f"{self._discrepancy_ns / 1e9:g} s; check contacts and wires, then press and release it"
            )

    def reopen(self) -> None:
        """Have both lines again after `close`. Raises LineError."""
        for line in self._lines:
            line.close()
            line.reopen()
        self._watch()

    def close(self) -> None:
        """Give both lines back. Callable again and again."""
        self._ready.close()
        for line in self._lines:
            line.close()

    def _watch(self) -> None:
        self._ready = select.epoll()
        for line in self._lines:
            if line.fileno() >= 0:
                self._ready.register(line.fileno(), select.EPOLLIN)
