"""Real-time settings of the process: each is tried, and reported as achieved or not, and why."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4
_DMA_LATENCY = "/dev/cpu_dma_latency"
_FIFO = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
"""RESET_ON_FORK: threads and processes that are started from here on are ordinary ones again."""
HELPERS_BELOW = 10
"""The log's thread and other helpers run so far below the control loop."""


class RealtimeError(Exception):
    """`realtime.required` is set and something was not achieved. Lists every item."""


@dataclass(frozen=True, slots=True)
class Item:
    """One real-time setting."""

    name: str
    achieved: bool
    detail: str
    """What is in force, or why it is not and what to do."""


class Realtime:
    """Applies the settings to the calling thread and process; holds what must stay open."""

    def __init__(self) -> None:
        self.items: list[Item] = []
        self._latency_fd = -1

    def apply(
        self,
        priority: int,
        cpus: Sequence[int],
        lock_memory: bool,
        dma_latency: bool,
        switch_interval: float,
        required: bool,
    ) -> None:
        """Try everything. Raises RealtimeError when `required` and something was not achieved.

        `priority`: SCHED_FIFO priority of the calling thread, 1..98. `cpus`: its CPUs, empty for
        any. `switch_interval`: longest time (s) that a thread keeps the interpreter lock from a waiting one.
        """
        self._try("scheduler", lambda: _set_scheduler(priority))
        self._try("helper threads", lambda: _raise_helpers(max(1, priority - HELPERS_BELOW), set(cpus)))
        if cpus:
            self._try("cpu affinity", lambda: _set_affinity(cpus))
        if lock_memory:
            self._try("memory lock", _lock_memory)
        if dma_latency:
            self._try("cpu latency", self._hold_latency)
        sys.setswitchinterval(switch_interval)
        self.items.append(Item("switch interval", True, f"{switch_interval * 1e3:g} ms"))
        failed = [item for item in self.items if not item.achieved]
        if required and failed:
            raise RealtimeError(
                "realtime.required is set, but not achieved: "
                + "; ".join(f"{item.name}: {item.detail}" for item in failed)
            )

    def freeze_memory(self) -> None:
        """Stop automatic garbage collection; what exists now is never looked at again.

        The hot path makes no reference cycles, so counting references frees all that it allocates.
        """
        gc.collect()
        gc.freeze()
        gc.disable()
        self.items.append(Item("garbage collector", True, "frozen"))

    def close(self) -> None:
        """Let the processor sleep deeply again."""
        if self._latency_fd >= 0:
            os.close(self._latency_fd)
            self._latency_fd = -1

    def _try(self, name: str, action: Callable[[], str]) -> None:
        try:
            self.items.append(Item(name, True, action()))
        except OSError as error:
            advice = " (needs root, or LimitRTPRIO and LimitMEMLOCK in the service)" if error.errno == 1 else ""
            self.items.append(Item(name, False, f"{error.strerror or error}{advice}"))

    def _hold_latency(self) -> str:
        self._latency_fd = os.open(_DMA_LATENCY, os.O_WRONLY | os.O_CLOEXEC)
        os.write(self._latency_fd, (0).to_bytes(4, sys.byteorder))
        return f"{_DMA_LATENCY} held at 0 us"


def _set_scheduler(priority: int) -> str:
    os.sched_setscheduler(0, _FIFO, os.sched_param(priority))
    return f"SCHED_FIFO {priority}"


def _raise_helpers(priority: int, reserved: set[int]) -> str:
    """Let no ordinary process take the CPU from a thread of ours that holds the interpreter lock: the control loop
    would wait for both (priority inversion; the lock knows no priority inheritance). Keep them off its CPUs."""
    raised = 0
    others = os.sched_getaffinity(0) - reserved
    for task in os.listdir("/proc/self/task"):
        if os.sched_getscheduler(int(task)) == os.SCHED_OTHER:
            os.sched_setscheduler(int(task), _FIFO, os.sched_param(priority))
            if reserved and others:
                os.sched_setaffinity(int(task), others)
            raised += 1
    return f"{raised} at SCHED_FIFO {priority}"


def _set_affinity(cpus: Sequence[int]) -> str:
    os.sched_setaffinity(0, cpus)
    return "CPUs " + ",".join(map(str, sorted(os.sched_getaffinity(0))))


def _lock_memory() -> str:
    # ONFAULT locks each page when it is first touched: without it every reserved thread stack and arena would be
    # backed by real memory at once.
    libc = ctypes.CDLL(None, use_errno=True)
    _check(libc.mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT))
    for start, end in _mapped_files():
        # What was not used yet would be read from the disk when it is, in the middle of a tick.
        _check(libc.mlock(ctypes.c_void_p(start), ctypes.c_size_t(end - start)))
    return "all pages"


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _mapped_files() -> Iterator[tuple[int, int]]:
    """Addresses, from and to, of what is read from files: the program, its libraries, its locale."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, access, *_, name = line.split(maxsplit=5)
        if name.startswith("/") and access[0] == "r" and access[3] == "p":
            start, _, end = place.partition("-")
            yield int(start, 16), int(end, 16)
