"""The emulated robot; a file beside its spec tells when motors' watchdogs tripped: CLOCK_MONOTONIC, ns, a line."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from drivers.emulated.__main__ import main
from drivers.emulated.dynamixel_servo import Servo
from drivers.motors.dynamixel.table import BUS_WATCHDOG, WATCHDOG_TRIPPED

TRIPPED = "tripped"
watch = Servo._watch


def noting(self: Servo) -> None:
    before = self.table[BUS_WATCHDOG]
    watch(self)
    if before != self.table[BUS_WATCHDOG] == WATCHDOG_TRIPPED:
        with Path(sys.argv[1]).with_name(TRIPPED).open("a") as file:
            file.write(f"{time.monotonic_ns()}\n")


if __name__ == "__main__":
    Servo._watch = noting  # type: ignore[method-assign]
    sys.exit(main())
