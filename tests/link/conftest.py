"""A daemon with a real control socket and a robot that is only pretended, on a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import uvloop

from runtime.events import Events
from runtime.link.client import Client
from runtime.link.errors import Refused
from runtime.link.peers import Peer, Role, credentials
from runtime.link.server import ControlServer, Handler

WAIT_S = 20.0

STATUS: dict[str, Any] = {
    "robot": "arm",
    "config": "configs/arm.toml",
    "version": "9.9.9",
    "mode": "HOLD",
    "stop": {"category": None, "reasons": []},
    "estop": "released",
    "drive_enable": True,
    "reset_by": None,
    "health": {
        "unhealthy": "joints have stopped the robot 6 times",
        "joint_faults": 6,
        "failed_attempts": 4,
        "auto_disabled": True,
    },
    "stage": {
        "name": "25",
        "scale": 0.25,
        "run_s": 130.0,
        "needed_s": 600.0,
        "broken_by": "a joint is lost",
        "lowered": [],
    },
    "tick": 1234,
    "rate_hz": 500.0,
    "rate_measured_hz": 499.9987,
    "missed_deadlines": 2,
    "uptime_s": 62.0,
    "lateness_us": {"p50": 36.0, "p99": 95.0, "p99.9": 130.0, "max": 300.0},
    "cost_us": {"p50": 54.0, "p99": 119.0, "p99.9": 174.0, "max": 220.0},
    "plan_ahead_s": 0.8,
    "starved_ticks": 0,
    "seam_step_max_rad": 0.01,
    "policy": {"state": "ready", "latency_ms": 201.5, "chunks": 12, "failures": {}, "inline": False},
    "limits": {"position": 0, "velocity": 3, "acceleration": 1},
    "buses": [
        {
            "name": name,
            "sent": 10000,
            "received": 9990,
            "lost": 6,
            "late": 1,
            "corrupt": 2,
            "foreign": 0,
            "unsent": 1,
        }
        for name in ("left", "right")
    ],
    "sensors": [{"name": "imu", "age_s": 0.002}, {"name": "camera", "age_s": None}],
    "commands": {"vx": 0.5, "vy": float("nan")},
    "task": {"name": "pick", "id": 3.0, "prompt": None},
    "episode": {
        "id": "arm-20261126T101500Z-3f9a",
        "number": 3,
        "task": "pick",
        "prompt": None,
        "started_ns": 1_700_000_000_000_000_000,
        "interventions": 1,
        "notes": 0,
    },
    "cameras": [
        {
            "name": "wrist",
            "state": "black",
            "age_s": 1.25,
            "frames": 95,
            "restarts": 1,
            "about": "/dev/video0",
        }
    ],
    "recording": {
        "path": "/data/0001.mcap",
        "bytes": 12_300_000,
        "dropped": 0,
        "failed": "disk full",
        "video": {"wrist": {"encoder": "h264 by libx264", "frames": 90, "dropped": 2, "failed": None}},
    },
    "spool": {
        "ready": {"bulk": {"segments": 3, "bytes": 1_500_000, "oldest_ns": 0}},
        "sent": {},
        "lost": {"bulk": {"segments": 1, "bytes": 700_000}},
        "lost_why": {"size_max": 1},
        "open_bytes": 0,
        "trouble": ["the disk is full"],
    },
    "events": {"daemon.ready": 1},
    "realtime": [
        {"item": "scheduler", "achieved": True, "detail": "FIFO 50"},
        {"item": "memory lock", "achieved": False, "detail": "RLIMIT_MEMLOCK is 64 KiB"},
    ],
    "memory_mb": 98.25,
    "something_new": {"answer": 42},
}

TASKS = {
    "task": {"name": "place", "id": 5.0, "prompt": "place it"},
    "tasks": [{"name": "pick", "id": 3.0, "prompt": None}, {"name": "place", "id": 5.0, "prompt": "place it"}],
    "any_prompt": True,
}
OWN_WORDS = {**TASKS, "task": {"name": None, "id": None, "prompt": "fold the towel"}}
LIMITS = [
    {"name": "elbow", "now": ["velocity", "jerk"], "velocity": 3, "jerk": 12},
    {"name": "wrist", "now": [], "velocity": 0, "jerk": 1},
]
JOINT = {
    "name": "elbow",
    "bus": "left",
    "id": 3,
    "position": 0.25,
    "velocity": -0.001,
    "torque": None,
    "temperature": 41.0,
    "age_s": 0.002,
    "goal": 0.26,
    "missed": 0,
    "fault": None,
    "limit": {"position": 0, "velocity": 3},
}


class Wire:
    """A client that sends whatever it is told to."""

    def __init__(self, path: Path, greet: bool = True) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(WAIT_S)
        self.socket.connect(str(path))
        self.hello = self.receive() if greet else None

    def send(self, message: Any) -> None:
        body = msgpack.packb(message)
        self.socket.sendall(struct.pack("<I", len(body)) + body)

    def ask(self, op: str, request_id: int = 1, **args: Any) -> Any:
        self.send({"id": request_id, "op": op, "args": args})
        return self.receive()

    def receive(self) -> Any:
        """The next message; None when the connection is closed."""
        head = self._exactly(4)
        if not head:
            return None
        return msgpack.unpackb(self._exactly(struct.unpack("<I", head)[0]))

    def closed(self) -> bool:
        """Whether the server closes the connection, without saying anything more."""
        return self._exactly(1) == b""

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            try:
                more = self.socket.recv(count - len(data))
            except ConnectionError:
                return b""
            if not more:
                return b""
            data += more
        return data

    def close(self) -> None:
        self.socket.close()


class Daemon:
    """The pretended daemon; what it was told to do is in `done`."""

    def __init__(self, path: Path, loop: Callable[[], asyncio.AbstractEventLoop], **options: Any) -> None:
        self.path = path
        self.events = Events()
        self.done: list[Any] = []
        self.status_calls = 0
        self.peer_of: Callable[[socket.socket], Peer] = credentials
        self.release = asyncio.Event()
        self.wires: list[Any] = []
        self.server = ControlServer(
            path,
            version="9.9.9",
            status=self._status,
            events=self.events,
            handlers=self._handlers(),
            peer_of=lambda accepted: self.peer_of(accepted),
            **options,
        )
        self._loop = loop()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        try:
            self.call(self.server.start)
        except BaseException:
            self.close()
            raise

    def call(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Run an async function on the daemon's loop."""

        async def run() -> Any:
            return await function()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(WAIT_S)

    def wire(self, greet: bool = True) -> Wire:
        wire = Wire(self.path, greet)
        self.wires.append(wire)
        return wire

    def client(self, **options: Any) -> Client:
        client = Client(self.path, **{"timeout_s": WAIT_S, **options})
        self.wires.append(client)
        return client

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + WAIT_S
        tick = threading.Event()
        while not condition():
            assert time.monotonic() < deadline, "it never came to hold"
            tick.wait(0.005)

    def close(self) -> None:
        for wire in self.wires:
            wire.close()
        try:
            self.call(self.server.close)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _status(self) -> dict[str, Any]:
        self.status_calls += 1
        return {**STATUS, "done": len(self.done)}

    def _handlers(self) -> dict[str, Handler]:
        def note(name: str, result: Any = None) -> Callable[[dict[str, Any]], Any]:
            def call(args: dict[str, Any]) -> Any:
                self.done.append((name, args))
                return result

            return call

        async def arm(args: dict[str, Any]) -> Any:
            await asyncio.sleep(0)
            self.done.append(("arm", args))
            return {"mode": "HOLD"}

        def start(args: dict[str, Any]) -> Any:
            raise Refused(
                "not_ready", "the policy cannot be started", ["sensor imu: no reading yet", "mode is HOLD"]
            )

        async def stop(args: dict[str, Any]) -> Any:
            await self.release.wait()
            self.done.append(("stop", args))

        def broken(args: dict[str, Any]) -> Any:
            raise ZeroDivisionError("a mistake in the daemon")

        def promote(args: dict[str, Any], peer: Peer) -> Any:
            self.done.append(("promote", args, peer.uid))
            return {**STATUS["stage"], "name": "50", "scale": 0.5, "run_s": 0.0, "broken_by": None}

        checks = {"mode": [], "joints": ["joint elbow: was never read", "joint wrist: code 5"]}
        operator, observer = Role.OPERATOR, Role.OBSERVER
        return {
            "preflight": Handler(note("preflight", {"ready": False, "checks": checks}), operator),
            "promote": Handler(promote, operator, tell_peer=True),
            "arm": Handler(arm, operator),
            "start": Handler(start, operator),
            "stop": Handler(stop, operator),
            "disarm": Handler(note("disarm"), operator),
            "reset": Handler(note("reset"), operator),
            "reload": Handler(note("reload", {"changed": []}), operator),
            "estop": Handler(note("estop"), observer),
            "joints": Handler(note("joints", [JOINT, {**JOINT, "name": "wrist_roll", "id": 12}]), observer),
            "limits": Handler(note("limits", LIMITS), observer),
            "histograms": Handler(note("histograms", {"cost_us": {"p50": 54.0}}), observer),
            "command": Handler(note("command"), operator),
            "tasks": Handler(note("tasks", TASKS), observer),
            "task": Handler(note("task", OWN_WORDS), operator),
            "move": Handler(note("move"), operator),
            "spool": Handler(note("spool", STATUS["spool"]), observer),
            "episode": Handler(note("episode", STATUS["episode"]), operator),
            "spool_keep": Handler(note("spool_keep"), operator),
            "spool_upload": Handler(note("spool_upload", {"segments": 3}), operator),
            "broken": Handler(broken, observer),
            "unpackable": Handler(note("unpackable", object()), observer),
            "huge": Handler(note("huge", "x" * 70_000), observer),
        }


@pytest.fixture(params=["uvloop", "asyncio"])
def loop_factory(request: pytest.FixtureRequest) -> Callable[[], asyncio.AbstractEventLoop]:
    return uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Callable[..., Daemon]]:
    """Start a daemon; the first argument is its path's name, options go to the server."""
    daemons: list[Daemon] = []

    def start(name: str | Path = "reflexd.sock", loop: Any = uvloop.new_event_loop, **options: Any) -> Daemon:
        daemons.append(Daemon(tmp_path / name, loop, **options))
        return daemons[-1]

    yield start
    for daemon in daemons:
        daemon.close()


@pytest.fixture
def daemon(launch: Callable[..., Daemon]) -> Daemon:
    """A daemon on uvloop, as in real life."""
    return launch()


@pytest.fixture
def stranger() -> Peer:
    """A user who may only look."""
    return Peer(pid=os.getpid(), uid=os.getuid() + 4321, gid=os.getgid() + 4321)


@pytest.fixture
def status_sample() -> dict[str, Any]:
    return STATUS
