"""`python -m tests.bench.latency.remote`: the real daemon, with a policy server that is far or bad.

Twelve emulated CAN joints at 500 Hz. Beside each run, the machine's own lateness with the same period, at a
priority above ours: deadlines that it misses too are the machine's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.cli.processes import READY_S, DaemonProcess, Emulator
from runtime.config.load import load
from runtime.link.errors import Refused
from tests import robots
from tests.bench.latency import server
from tests.bench.latency.proxy import Network, Proxy
from tests.bench.reference import Reference
from tests.bench.surroundings import headline, machine, save

SWING = Path(__file__).with_name("swing.py")
RATE = 500.0
THINK_S = 0.1
RUN_S = 12
FAULT_AT_S, FAULT_S = 2.0, 5.0
"""When a server goes wrong, and for how long, s."""

POLICY = """
[policy]
backend = "openpi"
rate = 50.0
horizon = 50
execute = 10
timeout = 1.0
options = {{ url = "ws://127.0.0.1:{port}", keys = {{ state = [0, 12] }} }}
[[policy.observation]]
source = "joint.position"
[[policy.action]]
target = "joint.position"
[recording]
directory = "{{state}}/recordings"
"""
FALLBACK = """
[policy.fallback]
backend = "swing:Swing"
rate = 50.0
horizon = 50
execute = 10
[[policy.fallback.observation]]
source = "joint.position"
[[policy.fallback.action]]
target = "joint.position"
"""


class Server:
    """The policy server's process, at a port that stays the same."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self._process = server.start(self.port, THINK_S)

    def silence(self) -> None:
        """It answers nothing any more, and its connections stand."""
        self._process.send_signal(signal.SIGSTOP)

    def speak(self) -> None:
        """It goes on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """It is gone, as in a crash."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def restart(self) -> None:
        """It is there again, in another process."""
        self._process = server.start(self.port, THINK_S)


@dataclass(frozen=True)
class Case:
    """What goes wrong."""

    name: str
    network: Network = field(default_factory=Network)
    breaks: Callable[[Server], None] | None = None
    mends: Callable[[Server], None] | None = None


CASES = [
    Case("nothing wrong"),
    Case("150 ms more on the way there", Network(uplink_s=0.15)),
    Case("5 % loss", Network(loss=0.05)),
    Case("150 ms more and 5 % loss", Network(uplink_s=0.15, loss=0.05)),
    Case("no answer for 5 s", breaks=Server.silence, mends=Server.speak),
    Case("killed, back after 5 s", breaks=Server.kill, mends=Server.restart),
    Case("killed for good", breaks=Server.kill),
]


def measure(case: Case, fallback: bool, seconds: float = RUN_S) -> dict[str, Any]:
    """One run."""
    policy_server = Server()
    with (
        tempfile.TemporaryDirectory(prefix="reflexd-bench-") as name,
        Proxy(policy_server.port, case.network) as proxy,
    ):
        folder = Path(name)
        os.environ["STATE_DIRECTORY"] = str(folder / "state")
        more = POLICY.format(port=proxy.port) + (FALLBACK if fallback else "")
        shutil.copy(SWING, folder)
        path = robots.write(folder, [("damiao", 3)] * 4, RATE, more)
        config = load(path, run_dir=folder)
        try:
            with Emulator(config), DaemonProcess(config) as daemon:
                _start(daemon)
                time.sleep(2.0)
                daemon.request("clear_histograms")
                before = daemon.request("status")
                reference = Reference(
                    round(1e6 / RATE), seconds, config.realtime.priority + 1, config.realtime.cpus
                )
                _run(case, policy_server, seconds)
                machine_us = reference.summary_us()
                after = daemon.request("status")
                mode = after["mode"]
                daemon.request("disarm")
        finally:
            policy_server.speak()
            policy_server.kill()
    missed = after["missed_deadlines"] - before["missed_deadlines"]
    elapsed_s = after["uptime_s"] - before["uptime_s"]
    return {
        "case": case.name,
        "fallback": fallback,
        "mode": mode,
        "ticks": after["tick"] - before["tick"],
        "rate_hz": round((after["tick"] - before["tick"] - missed) / elapsed_s, 2),
        "starved": after["starved_ticks"] - before["starved_ticks"],
        "missed": missed,
        "missed_by_machine": machine_us["skipped"],
        "reference": reference.name,
        "lateness_us": after["lateness_us"],
        "machine_us": machine_us,
        "cost_us": after["cost_us"],
        "latency_max_ms": after["policy"]["latency_max_ms"],
        "chunks": after["policy"]["chunks"] - before["policy"]["chunks"],
        "restarts": after["policy"]["restarts"],
    }


def _start(daemon: DaemonProcess) -> None:
    """Arm as soon as policy and fallback are there, and let the policy move the robot."""
    deadline = time.monotonic() + READY_S
    while True:
        try:
            daemon.request("arm")
            break
        except Refused as refused:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{refused} {refused.reasons}\n{daemon.log_tail()}") from None
            time.sleep(0.1)
    daemon.request("start")


def _run(case: Case, policy_server: Server, seconds: float) -> None:
    began = time.monotonic()
    if case.breaks is not None:
        time.sleep(FAULT_AT_S)
        case.breaks(policy_server)
        if case.mends is not None:
            time.sleep(FAULT_S)
            case.mends(policy_server)
    time.sleep(max(began + seconds - time.monotonic(), 0.0))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "| server | fallback | ticks | starved | missed | by the machine | late p50 / p99, us | machine "
        "| cost p50, us |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['case']} | {'yes' if row['fallback'] else 'no'} | {row['ticks']} | {row['starved']} "
        f"| {row['missed']} | {row['missed_by_machine']} "
        f"| {row['lateness_us']['p50']:.0f} / {row['lateness_us']['p99']:.0f} "
        f"| {row['machine_us']['p50']:.0f} / {row['machine_us']['p99']:.0f} | {row['cost_us']['p50']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Every case, without a fallback and with one."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.latency.remote", description=__doc__)
    parser.add_argument("--seconds", type=float, default=RUN_S, help="each case")
    seconds = parser.parse_args().seconds
    rows = []
    for case in CASES:
        for fallback in (False, True):
            rows.append(measure(case, fallback, seconds))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    results = {"machine": machine(), "seconds": seconds, "cases": rows}
    save("remote", results)
    print("", headline(results), "", table(rows), sep="\n")


if __name__ == "__main__":
    main()
