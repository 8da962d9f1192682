"""What every benchmark has around it: the machine it runs on, and a client that watches the robot."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from runtime.config.config import Config
from runtime.link.client import Client
from runtime.link.errors import LinkError

RESULTS = Path(__file__).parent / "results"
CONFIGS = Path(__file__).parents[2] / "configs"


def machine() -> dict[str, Any]:
    """Processor, kernel, Python, date."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "")
    return {
        "cpu": f"{os.cpu_count()} x {model or platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def headline(results: dict[str, Any]) -> str:
    """The machine in one line, for the top of a table."""
    return f"{results['machine']['cpu']}, kernel {results['machine']['kernel']}, {results['machine']['date']}"


def save(name: str, results: dict[str, Any]) -> None:
    """Write `results/NAME.json`."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1))


@contextmanager
def watched(config: Config) -> Iterator[None]:
    """A client reads the status ten times a second."""
    done = threading.Event()

    def watch() -> None:
        with suppress(LinkError), Client(config.socket.path) as client:  # the daemon may be ended under it
            for _ in client.stream("watch", interval=0.1):
                if done.is_set():
                    return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join(1.0)
