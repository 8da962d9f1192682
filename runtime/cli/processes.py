"""The emulator and the daemon as processes of their own: for the demo, the tests and the benchmarks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

from runtime.cli.emulate import write_spec
from runtime.config.config import Config
from runtime.link.client import Client
from runtime.link.errors import LinkError

READY_S = 30.0
"""Starting takes at most this long, s."""


class ProcessError(Exception):
    """A process did not start; its own last words are in the text."""


class Emulator:
    """The emulated robot's process and its control channel."""

    def __init__(self, config: Config, program: Sequence[str] = ("-m", "drivers.emulated")) -> None:
        """Start it and wait until it listens. Raises ProcessError. `program`: what Python runs."""
        assert config.emulated is not None
        self.process = subprocess.Popen(
            [sys.executable, *program, str(write_spec(config))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        if self.process.stdout.readline().strip() != "ready":
            self.process.wait(READY_S)
            raise ProcessError(f"the emulated robot did not start: {self.process.stderr.read().strip()}")
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(READY_S)
        self._socket.connect(config.emulated.control)
        self._lines: IO[str] = self._socket.makefile("r")

    def ask(self, op: str, **args: Any) -> dict[str, Any]:
        """One request of the control channel. Raises ProcessError with its error text."""
        self._socket.sendall(json.dumps({"op": op, **args}).encode() + b"\n")
        reply: dict[str, Any] = json.loads(self._lines.readline())
        if not reply.pop("ok"):
            raise ProcessError(f"emulated robot, {op}: {reply['error']}")
        return reply

    def close(self) -> None:
        """End it."""
        self._lines.close()
        self._socket.close()
        _end(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class DaemonProcess:
    """A daemon in a process of its own, and a client of its control socket."""

    def __init__(
        self, config: Config, set_: Sequence[str] = (), program: Sequence[str] = ("-m", "runtime.cli.reflexd")
    ) -> None:
        """Start it and wait until its socket answers. Raises ProcessError. `program`: what Python runs."""
        self._log = config.places.run / "daemon.log"
        with self._log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    *(*program, "run", str(config.path)),
                    *("--run-dir", str(config.places.run)),
                    *(word for pair in set_ for word in ("--set", pair)),
                ],
                stdin=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, "STATE_DIRECTORY": str(config.places.state)},
            )
        self.started_s = time.monotonic()
        self.client = self._connect(Path(config.socket.path))

    def request(self, op: str, /, **args: Any) -> Any:
        """One request of the control socket; raises what `Client.request` raises."""
        return self.client.request(op, **args)

    def wait_policy(self) -> None:
        """Wait until the policy's model is loaded. Raises ProcessError."""
        deadline = time.monotonic() + READY_S
        while (status := self.request("status"))["policy"]["state"] != "ready":
            if time.monotonic() > deadline or status["policy"]["state"] in ("failed", "none"):
                raise ProcessError(f"the policy is not ready: {status['policy']}\n{self.log_tail()}")
            time.sleep(0.05)

    def wait_cameras(self) -> None:
        """Wait until every camera is well, if there are any. Raises ProcessError."""
        deadline = time.monotonic() + READY_S
        while ill := [camera for camera in self.request("status")["cameras"] if camera["state"] != "well"]:
            if time.monotonic() > deadline:
                raise ProcessError(f"not all cameras are ready: {ill}\n{self.log_tail()}")
            time.sleep(0.05)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send the daemon a signal."""
        self.process.send_signal(number)

    def log_tail(self) -> str:
        """The last lines that the daemon wrote."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])

    def close(self) -> None:
        """Ask it to stop, and see that it does."""
        self.client.close()
        _end(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connect(self, path: Path) -> Client:
        deadline = time.monotonic() + READY_S
        while True:
            try:
                return Client(path)
            except LinkError as error:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    _end(self.process)
                    raise ProcessError(f"the daemon did not start ({error}):\n{self.log_tail()}") from None
            time.sleep(0.01)


def _end(process: subprocess.Popen[Any], patience_s: float = 20.0) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
