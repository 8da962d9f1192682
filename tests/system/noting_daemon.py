"""The daemon with a defect, and a watchdog that notes what is done to it."""

from __future__ import annotations

import runpy
from functools import partial
from pathlib import Path

import runtime.safety_task
from safety.watchdog import MAGICCLOSE, HardwareWatchdog


class NotingDevice:
    """A watchdog's device that is an ordinary file: one word for each call."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1)
        self._seconds = 0
        self._note("open")

    def support(self) -> tuple[int, str]:
        return MAGICCLOSE, "noting"

    def set_timeout(self, seconds: int) -> None:
        self._seconds = seconds

    def timeout(self) -> int:
        return self._seconds

    def keepalive(self) -> None:
        self._note("feed")

    def allow_stop(self) -> None:
        self._note("V")

    def close(self) -> None:
        self._note("close")
        self._file.close()

    def _note(self, word: str) -> None:
        self._file.write(word + "\n")


runtime.safety_task.HardwareWatchdog = partial(HardwareWatchdog, device=NotingDevice)  # type: ignore
runpy.run_module("tests.system.defective_daemon", run_name="__main__")
