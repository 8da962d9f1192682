"""A peer's process, seen from here."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[3]


def interpreter(peer: str) -> Path:
    """Where `make test-peers` puts the interpreter that has the peer's packages."""
    return ROOT / f".venv-peers-{peer}" / "bin" / "python"


@cache
def peer_process(peer: str) -> PeerProcess:
    """One for all runs of this process: some take seconds to start. It ends when this process does."""
    return PeerProcess(peer)


class PeerProcess:
    """Calls methods of the class in `PEER_peer.py`, one at a time."""

    def __init__(self, peer: str) -> None:
        """Start it. Raises RuntimeError in its own words."""
        self._process = subprocess.Popen(
            [interpreter(peer), HERE / f"{peer}_peer.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if self._hear() != "ready":
            raise RuntimeError(f"{peer}: expected `ready`")

    def call(self, method: str, *arguments: Any, infer: Callable[[], Any] | None = None) -> Any:
        """What the method answers; `infer` gives the chunk that it asks for meanwhile."""
        self._tell([method, arguments])
        while "answer" not in (said := self._hear()):
            assert infer is not None
            self._tell(infer())
        return said["answer"]

    def _tell(self, value: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            return json.loads(line)
        assert self._process.stderr is not None
        raise RuntimeError(f"{self._process.args[1]} ended: {self._process.stderr.read()[-2000:]}")
