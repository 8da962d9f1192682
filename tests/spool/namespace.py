"""The server in a network namespace of its own, and the cable to it: a veth pair. Needs root.

Not every kernel has `tc netem`: broken connections and a slow link are those of `tests.spool.server.Link`, which
stands before the server in there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_PORT = 5000
_NETWORK = "10.213.{}"
"""A /24 for each; the number is of the process, so that several tests may run at a time."""
_HOUSE = Path(__file__).parents[2]


def why_not() -> str:
    """Why there can be no namespace here; empty when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    return "" if shutil.which("ip") else "`ip` is not installed: apt-get install iproute2"


class Uplink:
    """`url` is the server's address while the cable is whole."""

    def __init__(self, name: str, network: str, server: subprocess.Popen[str]) -> None:
        self.url = f"http://{network}.2:{_PORT}"
        self._here, self._there, self._name = f"{name}-a", f"{name}-b", name
        self._server = server

    def cable(self, whole: bool, far: bool = False) -> None:
        """Pull the cable or plug it in. `far`: at the server's end, so that this end only loses its carrier."""
        inside = ("ip", "netns", "exec", self._name) if far else ()
        end = self._there if far else self._here
        subprocess.run([*inside, "ip", "link", "set", end, "up" if whole else "down"], check=True)

    def server(self, **told: Any) -> None:
        """What `tests.spool.server.main` takes."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(told), file=self._server.stdin, flush=True)
        answer = self._server.stdout.readline().strip()
        assert answer == "done", f"the server has ended after {told}"


@contextmanager
def uplink(cpus: str | None = None) -> Iterator[Uplink]:
    """The server of `tests.spool.server.s3` at the other end of a cable. `cpus`: where it runs, for taskset."""
    number = os.getpid() % 250
    name, network = f"rfx{number}", _NETWORK.format(number)
    inside = ["ip", "netns", "exec", name]
    subprocess.run(["ip", "netns", "add", name], check=True)
    server = None
    try:
        ends = (f"{name}-a", f"{name}-b")
        for words in (
            f"ip link add {ends[0]} type veth peer name {ends[1]} netns {name}",
            f"ip addr add {network}.1/24 dev {ends[0]}",
            f"ip link set {ends[0]} up",
            f"ip netns exec {name} ip addr add {network}.2/24 dev {ends[1]}",
            f"ip netns exec {name} ip link set {ends[1]} up",
            f"ip netns exec {name} ip link set lo up",
        ):
            subprocess.run(words.split(), check=True)
        pinned = ["taskset", "-c", cpus, "nice", "-n", "10"] if cpus is not None else []
        server = subprocess.Popen(
            [*inside, *pinned, sys.executable, "-m", "tests.spool.server", f"{network}.2", str(_PORT)],
            cwd=_HOUSE,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        assert server.stdout.readline().strip() == "ready", "the server does not start"
        yield Uplink(name, network, server)
    finally:
        if server is not None:
            server.kill()
            server.wait()
            for pipe in (server.stdin, server.stdout):
                assert pipe is not None
                pipe.close()
        subprocess.run(["ip", "netns", "del", name], check=True)
