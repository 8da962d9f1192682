"""A button that resets what stopped the robot, for people who have no terminal at hand.

It acts when it is let go, and only after it was seen pressed: one that is stuck, taped down or shorted resets
nothing (ISO 13850 asks for a deliberate act). It does what `reflexctl reset` does, and never starts motion.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from drivers.line import InputLine
from runtime.events import Events
from runtime.link.errors import Refused
from safety.recovery import LINE_FAILURES, Recovery


class ResetButton:
    """One input line on the running loop."""

    def __init__(self, line: InputLine, reset: Callable[[], Awaitable[None]], events: Events) -> None:
        """`line`: active while the button is pressed. `reset` raises Refused while a cause stands."""
        self._line = line
        self._reset = reset
        self._events = events
        self._recovery = Recovery("the reset button's line", line, line.read, self._tell)
        self._watched = -1
        self._pressed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to listen. A button that is pressed now has to be let go and pressed again."""
        self._watch()

    def look_after(self) -> None:
        """Once a second: try to have a line again that was lost."""
        lost = bool(self._recovery.problem)
        self._recovery.step(time.monotonic_ns())
        if lost and not self._recovery.problem:
            self._watch()

    def close(self) -> None:
        """Listen no more, give the line back."""
        self._unwatch()
        self._line.close()

    def _watch(self) -> None:
        self._pressed = False
        try:
            self._line.read()
        except LINE_FAILURES as error:
            self._recovery.lose(error)
            return
        self._watched = self._line.fileno()
        asyncio.get_running_loop().add_reader(self._watched, self._edge)

    def _unwatch(self) -> None:
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            self._watched = -1

    def _edge(self) -> None:
        try:
            pressed = self._line.read()
        except LINE_FAILURES as error:
            self._unwatch()
            self._recovery.lose(error)
            return
        let_go, self._pressed = self._pressed and not pressed, pressed
        if let_go and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._act())

    async def _act(self) -> None:
        try:
            await self._reset()
        except Refused as refusal:
            text = "; ".join([str(refusal), *refusal.reasons])
            self._events.emit("reset_button.refused", f"the reset button: {text}", level="warning")

    def _tell(self, name: str, message: str, level: str) -> None:
        self._events.emit(name, message, level="error" if level == "error" else "info")
