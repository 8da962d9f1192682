"""When a policy is asked for its next chunk: pure logic over injected times."""

from __future__ import annotations

from collections import deque


class Scheduler:
    """Knows how long the policy takes, and so when the next request has to go out.

    Terms: H actions in a chunk, s between two requests, d the delay in actions. The next request is due `execute`
    actions after the last one, or at the latest moment that still leaves a margin (H - d - margin actions after
    it), whichever is earlier. While d <= s <= H - d the plan does not run out; d > s makes s = d, because
    there is one inference at a time.
    """

    def __init__(self, horizon: int, execute: int, period_ns: int, margin: int = 1, window: int = 10) -> None:
        """`horizon`: H. `execute`: s. `period_ns`: time of an action. `margin`: actions that are kept in reserve.

        `window`: so many measured delays count; the largest of them is the one that is expected.
        """
        self.horizon = horizon
        self.execute = execute
        self.period_ns = period_ns
        self.margin = margin
        self._delays: deque[int] = deque(maxlen=window)
        self._expects_cold = True
        self.delay_ns: int | None = None
        """The delay to expect: the largest of the recent ones, ns. None: nothing is known."""
        self.delay = 0
        """The same in whole actions (d), rounded up; 0 when nothing is known."""
        self.interval = max(1, min(execute, horizon - margin))
        """Actions from one request to the next, at least 1."""
        self._start_ns = 0
        self._asked = False

    def begin(self, now_ns: int) -> None:
        """A request is due now, and none before counts. What is known of the delay stays."""
        self._start_ns, self._asked = now_ns, False

    def restarted(self) -> None:
        """The policy was started anew: its first answer will be a slow one."""
        self._expects_cold = True

    def answered(self, delay_ns: int) -> None:
        """An answer came `delay_ns` after its request.

        The first one after a start tells little of the others. It is believed only while there is no other.
        """
        if not self._expects_cold:
            self._delays.append(delay_ns)
        self._expects_cold = False
        self.delay_ns = max(self._delays, default=delay_ns)
        self.delay = -(-self.delay_ns // self.period_ns)
        self.interval = max(1, min(self.execute, self.horizon - self.delay - self.margin))

    @property
    def lead_ns(self) -> int:
        """So long before its chunk is needed a policy has to be asked, ns.

        One of which nothing is known is given `execute` actions: none that fits d <= s takes longer.
        """
        takes_ns = self.execute * self.period_ns if self.delay_ns is None else self.delay_ns
        return takes_ns + self.margin * self.period_ns

    @property
    def due_ns(self) -> int:
        """When the next request is due, ns."""
        return self._start_ns + self._asked * self.interval * self.period_ns

    def asked(self, now_ns: int) -> None:
        """A request goes out."""
        # Keep the phase, so that a policy's rate is exact; after a gap begin anew rather than catch up.
        due_ns = self.due_ns
        self._start_ns = due_ns if now_ns - due_ns < self.interval * self.period_ns else now_ns
        self._asked = True
