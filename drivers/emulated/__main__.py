"""`python -m drivers.emulated SPEC.json`: run an emulated robot until SIGTERM, SIGINT or the parent's end.

Prints `ready` when everything listens. When standard input is a pipe or a socket, its end is taken for the
end of the parent, so that a parent that dies takes its robot with it.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from drivers.emulated.build import build
from drivers.emulated.errors import EmulatorError
from drivers.emulated.robot import Robot
from drivers.emulated.spec import RobotSpec


def main(arguments: list[str] | None = None, on_ready: Callable[[], object] = lambda: None) -> int:
    """Run the emulated robot; exit code 0 after a regular end, 1 when it cannot start.

    `on_ready` is called when everything listens.
    """
    parser = argparse.ArgumentParser(prog="python -m drivers.emulated", description="Run an emulated robot.")
    parser.add_argument("spec", type=Path, help="JSON file that describes the robot")
    path = parser.parse_args(arguments).spec
    # Before anything is built: a signal during the build must not leave files behind either.
    wake, signalled = socket.socketpair()
    wake.setblocking(False)
    signalled.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        spec = RobotSpec.model_validate_json(path.read_bytes())
        robot = build(spec)
    except (EmulatorError, ValidationError, OSError) as error:
        print(f"emulated robot: {error}", file=sys.stderr)
        return 1
    try:
        robot.reactor.watch(signalled, robot.stop)
        _follow_parent(robot)
        if rest := os.sched_getaffinity(0) - set(spec.avoid_cpus):
            os.sched_setaffinity(0, rest)
        robot.priority = _real_time(spec.priority)
        gc.collect()
        gc.freeze()
        print("ready", flush=True)
        on_ready()
        robot.run()
    finally:
        robot.close()
        signal.set_wakeup_fd(-1)
        wake.close()
        signalled.close()
    return 0


def _follow_parent(robot: Robot) -> None:
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)):
        return

    def readable() -> None:
        try:
            ended = os.read(0, 4096) == b""
        except OSError:
            ended = True
        if ended:
            robot.reactor.forget(0)
            robot.stop()

    robot.reactor.watch(0, readable)


def _real_time(priority: int | None) -> str:
    """Become a SCHED_FIFO process where that is permitted; the reached state in words."""
    if priority is None:
        return "ordinary process"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        return f"ordinary process: SCHED_FIFO {priority} refused ({error.strerror})"
    return f"SCHED_FIFO {priority}"


if __name__ == "__main__":
    sys.exit(main())
