"""`python -m tests.bench`: all figures of docs/benchmarks.md, as JSON in tests/bench/results and as a table."""

from __future__ import annotations

import argparse
import os
import socket
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from runtime.cli.processes import DaemonProcess, Emulator
from runtime.config.config import Config
from runtime.config.load import load
from tests import robots
from tests.bench import envelope, exchange, seams
from tests.bench.reference import Reference
from tests.bench.surroundings import CONFIGS, headline, machine, save, watched
from tests.bench.watches import look_cost

BUSES = {"damiao": (500.0, 3), "dynamixel": (100.0, 6)}
"""Rate (Hz) and joints on one bus: what a bus of 1 Mbit/s carries well."""
LATENESS_S = 30
COST_S = 4.0


def lateness(folder: Path) -> dict[str, Any]:
    """The Go1 walking at 500 Hz while it records and a client watches, beside the machine's own lateness."""
    config = load(CONFIGS / "go1.toml", run_dir=folder)
    realtime = config.realtime
    bare = [exchange.measure(config.control.rate, realtime.priority, realtime.cpus)["p50"]]
    with Emulator(config), DaemonProcess(config) as daemon:
        daemon.wait_policy()
        daemon.request("arm")
        daemon.request("start")
        time.sleep(2.0)
        with watched(config):
            daemon.request("clear_histograms")
            before = daemon.request("status")
            reference = Reference(2000, LATENESS_S, realtime.priority + 1, realtime.cpus)
            late = reference.summary_us()
            after = daemon.request("status")
        daemon.request("disarm")
    bare.append(exchange.measure(config.control.rate, realtime.priority, realtime.cpus)["p50"])
    ticks = after["tick"] - before["tick"] - (after["missed_deadlines"] - before["missed_deadlines"])
    seconds = after["uptime_s"] - before["uptime_s"]
    return {
        "reference": reference.name,
        "reference_us": late,
        "lateness_us": after["lateness_us"],
        "p99_ratio": round(after["lateness_us"]["p99"] / max(late["p99"], 1.0), 2),
        "cost_us": after["cost_us"],
        "exchange_us": bare,
        "cost_ratio": round(after["cost_us"]["p50"] / (sum(bare) / len(bare)), 2),
        "rate_hz": round(ticks / seconds, 3),
        "missed_deadlines": after["missed_deadlines"] - before["missed_deadlines"],
        "ticks": ticks,
        "recorded_bytes": (after["recording"] or {}).get("bytes", 0),
        "memory_mb": after["memory_mb"],
        "starved_ticks": after["starved_ticks"],
    }


def tick_cost(folder: Path, kind: str, joints: int) -> dict[str, Any]:
    """Cost of a tick that commands `joints` joints, without a policy."""
    rate, per_bus = BUSES[kind]
    config = load(robots.write(folder, [(kind, per_bus)] * (joints // per_bus), rate), run_dir=folder)
    with Emulator(config), DaemonProcess(config) as daemon:
        daemon.request("arm")
        time.sleep(0.5)
        daemon.request("clear_histograms")
        time.sleep(COST_S)
        status = daemon.request("status")
        daemon.request("disarm")
    return {"bus": kind, "joints": joints, "rate_hz": rate, **status["cost_us"], "memory_mb": status["memory_mb"]}


def start_to_ready(folder: Path) -> dict[str, Any]:
    """From the start of the process to READY=1, and the memory then; the demo robot, three times."""
    config = load(CONFIGS / "demo.toml", run_dir=folder)
    times, memory = [], 0.0
    with Emulator(config):
        for _ in range(3):
            seconds, memory = _start_once(config)
            times.append(round(seconds, 3))
    return {"start_to_ready_s": sorted(times), "memory_mb": memory}


def _start_once(config: Config) -> tuple[float, float]:
    path = config.places.run / "notify.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(30.0)
        os.environ["NOTIFY_SOCKET"] = str(path)
        started = time.monotonic()
        ready = threading.Event()
        moment: list[float] = []

        def wait() -> None:
            while b"READY=1" not in notify.recv(4096):
                pass
            moment.append(time.monotonic() - started)
            ready.set()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        try:
            with DaemonProcess(config) as daemon:
                ready.wait(30.0)
                memory = float(daemon.request("status")["memory_mb"])
        finally:
            del os.environ["NOTIFY_SOCKET"]
    path.unlink()
    return moment[0], memory


def _table(results: dict[str, Any]) -> str:
    lines = [headline(results), ""]
    if late := results.get("lateness"):
        lines += [
            f"| 12 CAN joints at 500 Hz, {LATENESS_S} s | p50 us | p99 us | max us |",
            "|---|---|---|---|",
            "| lateness | {p50:.0f} | {p99:.0f} | {max:.0f} |".format(**late["lateness_us"]),
            f"| {late['reference']} beside it | "
            + "{p50:.0f} | {p99:.0f} | {max:.0f} |".format(**late["reference_us"]),
            "| cost of a tick | {p50:.0f} | {p99:.0f} | {max:.0f} |".format(**late["cost_us"]),
            "",
            f"the exchange of frames alone: {late['exchange_us']} us before and after, ratio {late['cost_ratio']}",
            f"rate {late['rate_hz']} Hz, {late['missed_deadlines']} of {late['ticks']} deadlines missed, "
            f"{late['reference_us']['skipped']} by {late['reference']}; "
            f"p99 ratio {late['p99_ratio']}, {late['memory_mb']} MB",
            "",
        ]
    lines += ["| bus | joints | p50 us | p99 us | MB |", "|---|---|---|---|---|"]
    lines += [
        "| {bus} | {joints} | {p50:.0f} | {p99:.0f} | {memory_mb} |".format(**row) for row in results["tick_cost"]
    ]
    lines += ["", "| all watches, joints | p50 us | p99 us |", "|---|---|---|"]
    lines += ["| {joints} | {p50:.0f} | {p99:.0f} |".format(**row) for row in results["watches"]]
    lines += ["", envelope.table(results["envelope"])]
    lines += ["", seams.table(results["seams"])]
    start = results["start"]
    lines += ["", f"start to ready {start['start_to_ready_s']} s, {start['memory_mb']} MB"]
    return "\n".join(lines)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only 6 and 12 joints")
    quick = parser.parse_args().quick
    results: dict[str, Any] = {"machine": machine(), "tick_cost": []}
    results |= {"envelope": envelope.measure(), "seams": seams.measure()}
    with tempfile.TemporaryDirectory(prefix="reflexd-bench-") as name:
        folder = Path(name)
        os.environ["STATE_DIRECTORY"] = str(folder / "state")
        results["start"] = start_to_ready(folder)
        results["watches"] = [look_cost(folder / f"watches{joints}", joints) for joints in (12, 48)]
        for kind in ("damiao", "dynamixel"):
            for joints in (6, 12) if quick else (6, 12, 24, 48):
                results["tick_cost"].append(tick_cost(folder / f"{kind}{joints}", kind, joints))
        if (CONFIGS / "../../shared/robots/go1/go1.xml").exists():
            results["lateness"] = lateness(folder)
        else:
            print("the Go1's model is not there: lateness not measured")
    save("latest", results)
    print(_table(results))


if __name__ == "__main__":
    main()
