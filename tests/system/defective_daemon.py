"""The daemon with a defect: the tick that moves a joint by hand raises."""

from __future__ import annotations

import sys

from runtime.cli.reflexd import main
from runtime.control.loop import ControlLoop
from runtime.control.modes import Mode

plan = ControlLoop._plan


def defective(self: ControlLoop, now_ns: int) -> None:
    if self.modes.mode == Mode.MANUAL:
        raise ZeroDivisionError("a defect made for the test")
    plan(self, now_ns)


ControlLoop._plan = defective  # type: ignore[method-assign]
sys.exit(main())
