"""The computers of a rig: the robot's own, and the second board that presses its e-stop and plays its motors."""

from __future__ import annotations

import json
import shlex
import subprocess
from typing import Any, Protocol

from tests.rig.harness.agent import Done
from tests.rig.harness.qemu import Qemu


class Target(Protocol):
    """Where scenarios run."""

    disposable: bool
    """It is thrown away after the scenario: nothing has to be put back."""

    def run(self, command: str, user: str | None = None, timeout_s: float = 60.0) -> Done:
        """Run a shell command on the robot's computer, as root or as `user`."""

    def ask_robot(self, path: str, message: Any, timeout_s: float = 60.0) -> Any:
        """Send a JSON line to a Unix socket of the robot's computer; what comes back. Raises OSError."""

    def ask_board(self, path: str, message: Any, timeout_s: float = 60.0) -> Any:
        """The same on the second board."""


class VirtualTarget:
    """Both are one virtual machine; its GPIO chip is simulated, its motors are played."""

    disposable = True

    def __init__(self, qemu: Qemu) -> None:
        self.qemu = qemu

    def run(self, command: str, user: str | None = None, timeout_s: float = 60.0) -> Done:
        """See `Target.run`. Raises MachineGone."""
        return self.qemu.agent.run(["bash", "-c", command], user, timeout_s)

    def ask_robot(self, path: str, message: Any, timeout_s: float = 60.0) -> Any:
        """See `Target.ask_robot`. Raises MachineGone."""
        return self.qemu.agent.ask(path, message, timeout_s)

    ask_board = ask_robot


_ASK = """
import socket, sys
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(sys.argv[2].encode() + b"\\n")
print(client.makefile().readline(), end="")
"""


class BenchTarget:
    """Two real computers, reached over ssh with keys."""

    disposable = False

    def __init__(self, robot: str, board: str) -> None:
        """`robot`, `board`: what ssh connects to, as root, for example `root@robot.local`."""
        self._robot = robot
        self._board = board

    def run(self, command: str, user: str | None = None, timeout_s: float = 60.0) -> Done:
        """See `Target.run`."""
        words = ["bash", "-c", command]
        return _ssh(self._robot, ["runuser", "-u", user, "--", *words] if user else words, timeout_s)

    def ask_robot(self, path: str, message: Any, timeout_s: float = 60.0) -> Any:
        """See `Target.ask_robot`."""
        return _ask(self._robot, path, message, timeout_s)

    def ask_board(self, path: str, message: Any, timeout_s: float = 60.0) -> Any:
        """See `Target.ask_board`."""
        return _ask(self._board, path, message, timeout_s)


def _ask(host: str, path: str, message: Any, timeout_s: float) -> Any:
    done = _ssh(host, ["python3", "-c", _ASK, path, json.dumps(message)], timeout_s)
    if done.code:
        raise OSError(f"{host}, {path}: {done}")
    return json.loads(done.out or "null")


def _ssh(host: str, words: list[str], timeout_s: float) -> Done:
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", host, shlex.join(words)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return Done(124, "", f"no answer from {host} within {timeout_s:g} s")
    return Done(done.returncode, done.stdout, done.stderr)
