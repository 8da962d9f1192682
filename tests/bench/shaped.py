"""A link with a rate and a delay to a network namespace, for kernels without `tc netem`. Needs root.

Two TUN devices are its ends. The kernel's token bucket (`tc tbf`) gives the rate, a process of ours carries the
packets from one end to the other, each a while after it came. So the TCP on it is the real one, and starts slowly.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import select
import struct
import subprocess
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_MTU = 1500
_AT_ONCE = 64
_QUEUE = "50ms"
"""A packet that would wait longer than this for the rate is dropped, as routers do."""


@dataclass(frozen=True, slots=True)
class Shaped:
    """`inside`: what a command line begins with to run at the far end, whose address `host` is."""

    host: str
    inside: tuple[str, ...]


@contextmanager
def shaped(rate: str, round_trip_s: float) -> Iterator[Shaped]:
    """`rate`: of each direction, as tc writes it, such as `100mbit`. `round_trip_s`: without what queues add."""
    number = os.getpid() % 250
    name, network = f"rfs{number}", f"10.214.{number}"
    ends = (f"{name}-a", f"{name}-b")
    inside = ("ip", "netns", "exec", name)
    subprocess.run(["ip", "netns", "add", name], check=True)
    carrier = None
    try:
        files = [_tun(end) for end in ends]
        for words in (
            ["ip", "link", "set", ends[1], "netns", name],
            ["ip", "addr", "add", f"{network}.1/24", "dev", ends[0]],
            [*inside, "ip", "addr", "add", f"{network}.2/24", "dev", ends[1]],
            *(
                [*where, *words.split()]
                for where, end in (((), ends[0]), (inside, ends[1]))
                for words in (
                    f"ip link set {end} mtu {_MTU} up",
                    f"tc qdisc add dev {end} root tbf rate {rate} burst 16kb latency {_QUEUE}",
                )
            ),
            [*inside, "ip", "link", "set", "lo", "up"],
        ):
            subprocess.run(words, check=True)
        carrier = multiprocessing.get_context("fork").Process(target=_carry, args=(*files, round_trip_s / 2))
        carrier.start()
        for file in files:
            os.close(file)
        yield Shaped(f"{network}.2", inside)
    finally:
        if carrier is not None:
            carrier.kill()
            carrier.join()
        subprocess.run(["ip", "netns", "del", name], check=True)


def _tun(name: str) -> int:
    file = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return file


def _carry(one: int, other: int, delay_s: float) -> None:
    """Packets from each end to the other one, in their order, each `delay_s` after it came."""
    way: dict[int, deque[tuple[float, bytes]]] = {one: deque(), other: deque()}
    target = {one: other, other: one}
    while True:
        due = [packets[0][0] for packets in way.values() if packets]
        select.select(way, (), (), max(0.0, min(due) - time.monotonic()) if due else None)
        for source, packets in way.items():
            with suppress(BlockingIOError):
                for _ in range(_AT_ONCE):
                    packets.append((time.monotonic() + delay_s, os.read(source, _MTU)))
            while packets and packets[0][0] <= time.monotonic():
                with suppress(OSError):  # the far end is just going
                    os.write(target[source], packets.popleft()[1])
