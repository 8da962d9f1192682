"""Each process of the daemon loads what it needs and no more: that is most of the time that a start takes."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "foreign"),
    [
        ("runtime.daemon", {"mcap", "sqlite3", "av", "obstore", "mujoco", "onnxruntime"}),
        ("runtime.recording.process", {"asyncio", "pydantic", "structlog", "av"}),
        ("runtime.spool.process", {"numpy", "pydantic", "structlog", "obstore"}),
    ],
)
def test_a_process_does_not_load_what_others_need(module: str, foreign: set[str]) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not foreign & set(done.stdout.split())


def test_no_model_reads_its_source_at_a_start() -> None:
    program = (
        "import inspect, sys; inspect.getsource = inspect.findsource = lambda *_: sys.exit('read'); "
        "import runtime.config.config"
    )
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
