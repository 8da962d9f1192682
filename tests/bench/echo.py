"""The floor of the machine: a bare real-time thread that passes a line's level on to another line.

`python -m tests.bench.echo CHIP PRIORITY`: what comes in at the chip's line `reference` goes out at `echo`.
"""

from __future__ import annotations

import gc
import os
import select
import sys
from pathlib import Path

from drivers.gpio.emulated import EmulatedInput, EmulatedOutput
from drivers.gpio.options import EmulatedLine


def main() -> None:
    """Until it is ended."""
    chip, priority = Path(sys.argv[1]), int(sys.argv[2])
    source = EmulatedInput(EmulatedLine(type="emulated", path=chip, line="reference"))
    echo = EmulatedOutput(EmulatedLine(type="emulated", path=chip, line="echo"))
    echo.set(source.read())
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    gc.freeze()
    gc.disable()
    print("ready", flush=True)
    poll = select.poll()
    poll.register(source.fileno(), select.POLLIN)
    while True:
        poll.poll()
        echo.set(source.read())


if __name__ == "__main__":
    main()
