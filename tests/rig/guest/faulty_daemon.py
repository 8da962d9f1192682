"""The daemon with two defects on demand: SIGUSR1 blocks its loop, SIGUSR2 keeps the whole interpreter busy.

How long, in seconds, is in /run/rig/fault. The interpreter is kept busy by calls that let no other thread run,
as an extension with a defect does.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from runtime.cli.reflexd import main
from runtime.control.loop import ControlLoop

FAULT = Path("/run/rig/fault")
wanted: list[str] = []
tick = ControlLoop.tick


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    sys.setswitchinterval(1000.0)
    while time.monotonic() < end:
        sum(range(200_000))
    sys.setswitchinterval(0.0001)


def faulty(self: ControlLoop, *arguments: object) -> None:
    if wanted:
        {"block": time.sleep, "busy": busy}[wanted.pop()](float(FAULT.read_text()))
    tick(self, *arguments)  # type: ignore[arg-type]


ControlLoop.tick = faulty  # type: ignore[assignment,method-assign]
signal.signal(signal.SIGUSR1, lambda *_: wanted.append("block"))
signal.signal(signal.SIGUSR2, lambda *_: wanted.append("busy"))
sys.exit(main())
