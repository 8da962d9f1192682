"""What the exchange of frames alone costs on this machine: the reference for the cost of a tick.

`python -m tests.bench.exchange RATE PRIORITY [CPU]` writes JSON. Twelve replies are read from four sockets and
unpacked, twelve commands are packed and sent, each with one system call, in a timer's callback on uvloop. There is
no policy, no limit, no recording and no safety task.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from array import array
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import uvloop

from drivers import timerfd
from runtime.control.histogram import Histogram

BUSES, MOTORS = 4, 3
WARM_UP, TICKS = 500, 2500

_UNPACK = struct.Struct(">8xBHBBBBB").unpack
_PACK = struct.Struct(">8sH6s").pack


def measure(rate: float, priority: int, cpus: Sequence[int]) -> dict[str, float]:
    """Run it in a process of its own; the cost of one exchange as `p50`, `p99` and `max`, us."""
    command = [sys.executable, "-m", "tests.bench.exchange", str(rate), str(priority), *map(str, cpus[:1])]
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=Path(__file__).parents[2]).stdout
    found: dict[str, float] = json.loads(output)
    return found


def _echo(ends: Sequence[socket.socket]) -> None:
    """Answer every frame with itself, until the other side is gone."""
    by_fd = {end.fileno(): end for end in ends}
    poll = select.poll()
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            frame = by_fd[fd].recv(72)
            if not frame:
                return
            by_fd[fd].send(frame)


async def _exchange(ends: Sequence[socket.socket], period_ns: int) -> Histogram:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    cost = Histogram()
    position, velocity, torque = (array("d", bytes(8 * BUSES * MOTORS)) for _ in range(3))
    goals = np.zeros(BUSES * MOTORS)
    head, tail = bytes(8), bytes(6)
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        if not timerfd.expirations(timer):
            return
        began_ns = time.monotonic_ns()
        place = 0
        for end in ends:
            for _ in range(MOTORS):
                try:
                    _, p, b3, b4, b5, _, _ = _UNPACK(end.recv(72))
                except BlockingIOError:  # the first tick, or an answer that is late
                    break
                position[place] = p * 1e-3 + 0.5
                velocity[place] = (b3 << 4 | b4 >> 4) * 1e-2 + 0.5
                torque[place] = ((b4 & 0x0F) << 8 | b5) * 1e-2 + 0.5
                place += 1
        goal = iter(goals.tolist())
        for end in ends:
            for _ in range(MOTORS):
                end.send(_PACK(head, int(next(goal) * 1e3 + 100.5), tail))
        ticks += 1
        if ticks > WARM_UP:
            cost.add(time.monotonic_ns() - began_ns)
        if ticks == WARM_UP + TICKS:
            done.set_result(None)

    timer = timerfd.open_timer()
    timerfd.set_timer(timer, time.monotonic_ns() + period_ns, period_ns)
    loop.add_reader(timer, tick)
    await done
    loop.remove_reader(timer)
    os.close(timer)
    return cost


def main() -> None:
    """Measure in this process, with the echo in another."""
    rate, priority = float(sys.argv[1]), int(sys.argv[2])
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(BUSES)]
    ours, theirs = [one for one, _ in pairs], [other for _, other in pairs]
    if os.fork() == 0:
        for end in ours:
            end.close()
        with suppress(ConnectionError):
            _echo(theirs)
        os._exit(0)
    for end in theirs:
        end.close()
    for end in ours:
        end.setblocking(False)
    if len(sys.argv) > 3:
        os.sched_setaffinity(0, {int(sys.argv[3])})
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError:
        print("no real-time priority: the reference runs without", file=sys.stderr)
    gc.freeze()
    gc.disable()
    print(json.dumps(uvloop.run(_exchange(ours, round(1e9 / rate))).summary_us()))
    for end in ours:
        end.close()
    os.wait()


if __name__ == "__main__":
    main()
