"""A camera's process: open it, put each frame into the shared memory, say what is wrong with the picture.

Runs in whatever interpreter the config names: Python 3.9, numpy and the standard library only, plus what the
source imports. It sends JSON: `{"about": text}` once it is open, `{"fault": "frozen" | "black" | ""}` at each
change. When the camera is gone it ends, and its last words say why.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

from runtime.policy.worker.ordinary import become_ordinary, close_foreign


def main(argument: str) -> None:
    """Capture until the daemon closes its end. Exits with 1 when there is no camera (any more)."""
    settings: dict[str, Any] = json.loads(argument)
    close_foreign(max(settings["socket"], settings["memory"]))
    become_ordinary("reflexd-camera", settings["parent"], settings["cpus"], "the camera's CPUs")
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        sys.exit(f"{sys.executable} cannot import numpy ({error}); install it there or name another in `python`")
    with socket.socket(fileno=settings["socket"]) as channel:
        channel.set_inheritable(False)
        channel.setblocking(False)
        try:
            capture(settings, channel)
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:
            sys.exit(_words(error))


def capture(settings: dict[str, Any], channel: socket.socket) -> None:
    """One camera from its opening until the daemon has gone. Raises what the source raises."""
    from runtime.cameras.worker.source import open_source
    from runtime.cameras.worker.watch import Watch
    from runtime.policy.worker.frames import FrameWriter

    writer = FrameWriter(settings["memory"])
    os.close(settings["memory"])
    camera = settings["camera"]
    watch = Watch(camera["frozen"], camera["black"])
    source = open_source(camera)
    try:
        channel.send(json.dumps({"about": source.about}).encode())
        while not _daemon_has_gone(channel):
            captured = source.read()
            if captured is None:
                continue
            writer.write(captured.pixels, captured.mono_ns)
            if watch.look(captured.pixels, captured.mono_ns):
                channel.send(json.dumps({"fault": watch.fault}).encode())
    finally:
        source.close()


def _daemon_has_gone(channel: socket.socket) -> bool:
    """It never says anything; when its end is closed, there is something to read: nothing."""
    try:
        return not channel.recv(1)
    except BlockingIOError:
        return False


def _words(error: Exception) -> str:
    from runtime.cameras.worker.source import CameraError

    return str(error) if isinstance(error, CameraError) else f"{type(error).__name__}: {error}"
