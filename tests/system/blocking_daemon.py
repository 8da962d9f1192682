"""The daemon whose control loop blocks on demand: SIGUSR1 makes the next tick take two seconds."""

from __future__ import annotations

import signal
import sys
import time

from runtime.cli.reflexd import main
from runtime.control.loop import ControlLoop

BLOCK_S = 2.0
wanted: list[int] = []
tick = ControlLoop.tick


def blocking(self: ControlLoop, *arguments: int) -> None:
    if wanted:
        wanted.clear()
        time.sleep(BLOCK_S)
    tick(self, *arguments)


ControlLoop.tick = blocking  # type: ignore[method-assign,assignment]
signal.signal(signal.SIGUSR1, lambda number, _: wanted.append(number))
sys.exit(main())
