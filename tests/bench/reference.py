"""How late the machine itself wakes a real-time thread: cyclictest where installed, else a bare timerfd loop."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_LOOP = """
import os, sys, time
sys.path.insert(0, sys.argv[4])
from drivers import timerfd
from runtime.control.histogram import Histogram
import json
period, seconds, priority = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
except OSError:
    pass
late, skipped, origin = Histogram(), 0, time.monotonic_ns() + period
fd = timerfd.open_timer()
timerfd.set_timer(fd, origin, period)
os.set_blocking(fd, True)
k = 0
while k * period < seconds * 1e9:
    passed = timerfd.expirations(fd)
    late.add(time.monotonic_ns() - (origin + k * period))
    skipped += passed - 1
    k += passed
print(json.dumps(late.summary_us() | {"skipped": skipped}))
"""


_HISTOGRAM_US = 500_000
"""cyclictest forgets how late it was where it was later than its histogram is long."""


class Reference:
    """Runs beside what is measured, with the same period and load on the same CPUs."""

    def __init__(self, period_us: int, seconds: float, priority: int, cpus: Sequence[int]) -> None:
        """`priority`: SCHED_FIFO, above that of what is measured, so that this sees the machine and not the other.

        It takes a few microseconds of each period.
        """
        self.name = "cyclictest" if shutil.which("cyclictest") else "bare timerfd loop"
        if self.name == "cyclictest":
            command = [
                "cyclictest",
                "-q",
                "-m",
                f"-p{priority}",
                f"-i{period_us}",
                f"-D{round(seconds)}",
                f"-h{_HISTOGRAM_US}",
                *([f"-a{','.join(map(str, cpus))}"] if cpus else []),
            ]
        else:
            root = str(Path(__file__).parents[2])
            command = [sys.executable, "-c", _LOOP, str(period_us * 1000), str(seconds), str(priority), root]
            if cpus:
                command = ["taskset", "--cpu-list", ",".join(map(str, cpus)), *command]
        self._period_us = period_us
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)

    def summary_us(self) -> dict[str, float]:
        """`p50`, `p99` and `max`, us, and `skipped`: the periods that it missed. Waits for the end."""
        output, _ = self._process.communicate()
        if self.name != "cyclictest":
            loop: dict[str, float] = json.loads(output)
            return loop
        rows = [line.split() for line in output.splitlines() if line[:1].isdigit()]
        counts = [(int(row[0]), int(row[1])) for row in rows]
        longest = _number(output, "# Max Latencies")
        if beyond := _number(output, "# Histogram Overflows"):
            counts.append((longest, beyond))
        return {
            "p50": _percentile(counts, 0.5),
            "p99": _percentile(counts, 0.99),
            "p99.9": _percentile(counts, 0.999),
            "max": float(longest),
            "skipped": sum(count * (late_us // self._period_us) for late_us, count in counts),
        }


def _number(output: str, name: str) -> int:
    return int(next(line for line in output.splitlines() if line.startswith(name + ":")).split()[-1])


def _percentile(counts: list[tuple[int, int]], fraction: float) -> float:
    rank = fraction * sum(count for _, count in counts)
    seen = 0
    for value, count in counts:
        seen += count
        if seen >= rank:
            return float(value)
    return float(counts[-1][0])
