"""The computers of a rig: the robot's own, and the second board that presses its e-stop and plays its motors."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import tarfile
from typing import Any, Protocol

from tests.rig.harness.agent import Done
from tests.rig.harness.bench import Bench
from tests.rig.harness.places import RIG
from tests.rig.harness.qemu import Qemu

PYTHON = "/opt/reflexd/current/bin/python"
"""The one that reflexd is installed in."""
BOARD = "/run/rig/board.sock"
MOTORS = "/run/reflexd/rig/emulator.sock"


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

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def set_up(self) -> None:
        """Have the board press and watch, and play the motors. Raises OSError, with what went wrong."""
        lines = self._bench.lines.model_dump()
        given = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in lines.items())
        ports = ", ".join(f"{bus} = {json.dumps(port)}" for bus, port in self._bench.ports.items())
        steps = f"""
            systemctl stop rig-second-board rig-motors 2>/dev/null
            set -e
            mkdir -p /opt/rig && tar -xzC /opt/rig
            cp /opt/reflexd/current/share/reflexd/configs/hinges/swing.py /opt/rig/robot
            sed -i 's|^drive_enable = "/run.*|drive_enable = "/run/rig/power"|' /opt/rig/robot/rig.toml
            echo 'ports = {{ {ports} }}' >> /opt/rig/robot/rig.toml
            run="systemd-run --quiet --collect -p CPUSchedulingPolicy=rr -p CPUSchedulingPriority=85"
            $run --unit rig-second-board {PYTHON} -u /opt/rig/guest/board.py serve {given}
            run="$run -p RuntimeDirectory=reflexd/rig -p RuntimeDirectoryPreserve=yes"
            $run --unit rig-motors reflexd emulate /opt/rig/robot/rig.toml
            for path in {BOARD} {MOTORS}; do
                for try in $(seq 100); do test -S $path && break; sleep 0.2; done
                test -S $path || {{ journalctl -n 20 -u rig-second-board -u rig-motors; exit 1; }}
            done
        """
        done = _ssh(self._bench.board, ["bash", "-c", steps], 120.0, _packed("guest", "robot"))
        if done.code:
            raise OSError(f"the second board {self._bench.board} could not be set up: {done}")

    def run(self, command: str, user: str | None = None, timeout_s: float = 60.0) -> Done:
        """See `Target.run`."""
        words = ["bash", "-c", command]
        return _ssh(self._bench.robot, ["runuser", "-u", user, "--", *words] if user else words, timeout_s)

    def ask_robot(self, path: str, message: Any, timeout_s: float = 60.0) -> Any:
        """See `Target.ask_robot`."""
        return _ask(self._bench.robot, path, message, timeout_s)

    def ask_board(self, path: str, message: Any, timeout_s: float = 60.0) -> Any:
        """See `Target.ask_board`."""
        return _ask(self._bench.board, path, message, timeout_s)


def _packed(*folders: str) -> bytes:
    """Folders of the rig as a tar archive."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for folder in folders:
            archive.add(RIG / folder, folder)
    return packed.getvalue()


def _ask(host: str, path: str, message: Any, timeout_s: float) -> Any:
    done = _ssh(host, ["python3", "-c", _ASK, path, json.dumps(message)], timeout_s)
    if done.code:
        raise OSError(f"{host}, {path}: {done}")
    return json.loads(done.out or "null")


def _ssh(host: str, words: list[str], timeout_s: float, stdin: bytes = b"") -> Done:
    command = ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", host, shlex.join(words)]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout_s, check=False)
    except subprocess.TimeoutExpired:
        return Done(124, "", f"no answer from {host} within {timeout_s:g} s")
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))
