"""How fast the e-stop works: from the edge, made by another process, to drive-enable going inactive.

Run it by hand: `python tests/safety/measure_reaction.py [PRESSES]`. It reports, it judges nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import threading
import time
from multiprocessing.connection import Connection

import numpy as np

from safety.beat import Heartbeat, LoopState
from safety.gate import Gate
from safety.scheduling import run_as_fifo
from safety.supervisor import Supervisor

PERIOD_S = 0.002
BUSY_S = 0.00012


class Estop:
    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._level = True

    def fileno(self) -> int:
        return self._end.fileno()

    def read(self) -> bool:
        while True:
            try:
                self._level = self._end.recv(1) == b"\x01"
            except BlockingIOError:
                return self._level

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        self._end.close()


class Drive:
    off_ns = 0

    def set(self, active: bool) -> None:
        if not active:
            self.off_ns = time.monotonic_ns()

    def check(self) -> None:
        pass

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


def press(wire: socket.socket, orders: Connection) -> None:
    """Another process: presses when told, and says when it did."""
    while orders.recv():
        time.sleep(0.003 + 0.004 * int.from_bytes(os.urandom(2), "little") / 65536)
        now_ns = time.monotonic_ns()
        wire.send(b"\x00")
        orders.send(now_ns)


def tick_for_ever(heartbeat: Heartbeat, done: threading.Event, busy_s: float) -> None:
    run_as_fifo(50)
    due, tick = time.monotonic(), 0
    values, out = np.random.rand(12), np.empty(12)
    while not done.is_set():
        tick += 1
        heartbeat.beat(tick, time.monotonic_ns(), LoopState.ENERGISED)
        until = time.monotonic() + busy_s
        while time.monotonic() < until:
            np.add(values, values, out)
        due = max(due + PERIOD_S, time.monotonic())
        time.sleep(max(0.0, due - time.monotonic()))


def hog(done: threading.Event) -> None:
    while not done.is_set():
        sum(range(500))


def measure(presses: int, switch_interval_s: float, hogged: bool) -> None:
    sys.setswitchinterval(switch_interval_s)
    wire, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end.setblocking(False)
    orders, theirs = multiprocessing.Pipe()
    presser = multiprocessing.get_context("fork").Process(target=press, args=(wire, theirs), daemon=True)
    presser.start()
    gate, heartbeat, drive, done = Gate(), Heartbeat(), Drive(), threading.Event()
    reported: list[float] = []

    def listen(name: str, message: str, level: str, fields: dict[str, object]) -> None:
        if name == "safety.torque_off":
            reported.append(float(str(fields["torque_off_us"])))

    calls = [lambda: None] * 4
    supervisor = Supervisor(Estop(end), drive, calls, gate, heartbeat, 0.2, 80, listen)
    threads = [threading.Thread(target=tick_for_ever, args=(heartbeat, done, BUSY_S))]
    threads += [threading.Thread(target=hog, args=(done,))] if hogged else []
    supervisor.start()
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    took_us = []
    for _ in range(presses):
        if refused := supervisor.arm():
            print(refused)
            break
        gate.open()
        drive.off_ns = 0
        orders.send(True)
        pressed_ns = orders.recv()
        while not drive.off_ns:
            time.sleep(0.0005)
        took_us.append((drive.off_ns - pressed_ns) / 1e3)
        wire.send(b"\x01")
        while supervisor.reset():
            time.sleep(0.001)
    orders.send(False)
    presser.join()
    done.set()
    for thread in threads:
        thread.join()
    supervisor.stop()
    wire.close()
    p50, p99, top = np.percentile(took_us, [50, 99, 100])
    who = "a thread hogs" if hogged else "nobody hogs"
    print(
        f"switch interval {switch_interval_s * 1e3:3.1f} ms, {who:13} the GIL, "
        f"{supervisor.scheduling.detail}: edge to drive-enable off p50 {p50:.0f} p99 {p99:.0f} max {top:.0f} us "
        f"({len(took_us)} presses); torque off of 4 buses {np.percentile(reported, 50):.0f} us after the wake-up"
    )


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for interval in (0.005, 0.0005, 0.0001):
        for hogs in (False, True):
            measure(count, interval, hogs)
