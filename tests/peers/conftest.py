"""The real peers, each in an environment of its own, which `make test-peers` makes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.policy.conftest import pytest_asyncio_loop_factories, rig

__all__ = ["pytest_asyncio_loop_factories", "rig"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def peer() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a script of a peer in its environment; ends all that were started."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str, script: str, *arguments: str) -> subprocess.Popen[str]:
        venv = ROOT / f".venv-peers-{name}"
        if not (venv / "done").exists():
            pytest.skip(f"{venv.name} is not there, and with it the packages of {name}: make test-peers makes it")
        process = subprocess.Popen(
            [venv / "bin/python", ROOT / "tests/peers" / name / script, *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
