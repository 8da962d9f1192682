"""The host's end of the virtio serial port: orders to the agent in the machine (`agent.py` below `machine`)."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ANSWER_SPARE_S = 60.0
"""An emulated machine may be this much slower with its answer than the order's own limit."""


class MachineGone(Exception):
    """The machine does not answer any more, or not in time."""


@dataclass(frozen=True, slots=True)
class Done:
    """What an order came to."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n{self.out}{self.err}".rstrip()


class Agent:
    """Sends orders and waits for their answers; several threads may do so at once."""

    def __init__(self, path: Path) -> None:
        """Connect to QEMU's socket. Raises OSError."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError:
            self._socket.close()
            raise
        self._answers: dict[int, Future[dict[str, Any]]] = {}
        self._last = 0
        self._lock = threading.Lock()
        self.up = threading.Event()
        """Set when the agent has said that it runs."""
        self._listener = threading.Thread(target=self._listen, name="rig-agent", daemon=True)
        self._listener.start()

    def run(
        self, argv: Sequence[str], user: str | None = None, timeout_s: float = 60.0, stdin: bytes = b""
    ) -> Done:
        """Run a program in the machine; exit code 124: it took 40 times `timeout_s` of its own time.

        Raises MachineGone.
        """
        order: dict[str, Any] = {"op": "run", "argv": list(argv), "user": user, "timeout": timeout_s}
        if stdin:
            order["stdin"] = base64.b64encode(stdin).decode()
        answer = self._ask(order, timeout_s)
        return Done(answer["rc"], _text(answer["out"]), _text(answer["err"]))

    def ask(self, path: str, message: Any, timeout_s: float = 60.0) -> Any:
        """Send a JSON line to a Unix socket of the machine; what comes back. Raises MachineGone, OSError."""
        order = {"op": "ask", "path": path, "line": json.dumps(message), "timeout": timeout_s}
        return json.loads(self._ask(order, timeout_s)["line"] or "null")

    def put(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Write a file in the machine. Raises MachineGone, OSError."""
        self._ask({"op": "put", "path": path, "data": base64.b64encode(data).decode(), "mode": mode}, 30.0)

    def get(self, path: str) -> bytes:
        """Read a file of the machine. Raises MachineGone, OSError."""
        return base64.b64decode(self._ask({"op": "get", "path": path}, 60.0)["data"])

    def ping(self, patience_s: float) -> None:
        """Return when the agent has answered. Raises MachineGone."""
        self._ask({"op": "ping"}, patience_s - ANSWER_SPARE_S)

    def close(self) -> None:
        """Let go of the port."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the listener
        self._listener.join()
        self._socket.close()

    def _ask(self, order: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        future: Future[dict[str, Any]] = Future()
        with self._lock:
            self._last += 1
            self._answers[self._last] = future
            try:
                self._socket.sendall(json.dumps({"id": self._last, **order}).encode() + b"\n")
            except OSError as error:
                raise MachineGone(f"the machine has ended: {error}") from error
        try:
            answer = future.result(timeout_s + ANSWER_SPARE_S)
        except TimeoutError:
            raise MachineGone(
                f"the machine did not answer within {timeout_s + ANSWER_SPARE_S:g} s: {order}"
            ) from None
        if "error" in answer:
            raise OSError(f"{order['op']} {order.get('path', '')}: {answer['error']}")
        return answer

    def _listen(self) -> None:
        waiting = b""
        while True:
            try:
                data = self._socket.recv(1 << 20)
            except OSError:
                data = b""
            if not data:
                break
            waiting += data
            *lines, waiting = waiting.split(b"\n")
            for line in lines:
                self._take(line)
        with self._lock:
            for future in self._answers.values():
                if not future.done():
                    future.set_exception(MachineGone("the machine has ended"))

    def _take(self, line: bytes) -> None:
        try:
            answer = json.loads(line)
        except ValueError:
            return  # the rest of an answer that was on its way when the machine's state was saved
        if answer["id"] == 0:
            self.up.set()
            return
        with self._lock:
            future = self._answers.pop(answer["id"], None)
        if future is not None:
            future.set_result(answer)


def _text(data: str) -> str:
    return base64.b64decode(data).decode(errors="replace")


def connect(path: Path, patience_s: float) -> Agent:
    """Connect as soon as the socket is there. Raises MachineGone."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return Agent(path)
        except OSError as error:
            if time.monotonic() > deadline:
                raise MachineGone(f"QEMU does not listen at {path}: {error}") from error
        time.sleep(0.02)
