"""The daemon with defects on demand: SIGUSR1 blocks its loop, SIGUSR2 keeps the whole interpreter busy, SIGRTMIN
freezes it. Both are calls that let no other thread run, as an extension with a defect makes them.

How long, in seconds, is in the file $FAULT, or /run/rig/fault.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path

from runtime.cli.reflexd import main
from runtime.control.loop import ControlLoop

FAULT = Path(os.environ.get("FAULT", "/run/rig/fault"))
wanted: list[int] = []
tick = ControlLoop.tick


def busy(seconds: float) -> None:
    end = time.monotonic() + seconds
    sys.setswitchinterval(1000.0)
    while time.monotonic() < end:
        sum(range(200_000))
    sys.setswitchinterval(0.0001)


def freeze(seconds: float) -> None:
    ctypes.PyDLL(None).usleep(round(seconds * 1e6))  # PyDLL keeps the interpreter lock, unlike CDLL


FAULTS = {signal.SIGUSR1: time.sleep, signal.SIGUSR2: busy, signal.SIGRTMIN: freeze}


def faulty(self: ControlLoop, *arguments: object) -> None:
    if wanted:
        FAULTS[signal.Signals(wanted.pop())](float(FAULT.read_text()))
    tick(self, *arguments)  # type: ignore[arg-type]


ControlLoop.tick = faulty  # type: ignore[assignment,method-assign]
for number in FAULTS:
    signal.signal(number, lambda number, _: wanted.append(number))
sys.exit(main())
