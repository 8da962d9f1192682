"""Listening sockets of the emulated robot: made once, never taken from a live owner, removed at the end."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from pathlib import Path

from drivers.emulated.errors import EmulatorError

PATH_BYTES_MAX = 107  # sockaddr_un.sun_path without its terminating zero


class Listener:
    """A listening Unix socket that removes its own path when it closes."""

    def __init__(self, path: Path, kind: socket.SocketKind) -> None:
        """Listen at `path`. Raises EmulatorError when the path is too long, in use or not ours to take."""
        size = len(os.fsencode(path))
        if size > PATH_BYTES_MAX:
            raise EmulatorError(
                f"socket path {path} has {size} bytes, a Unix socket takes at most {PATH_BYTES_MAX}; "
                "use a shorter folder"
            )
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
        try:
            _make_way(path, kind)
            self._socket.bind(os.fspath(path))
            self._socket.listen(8)
            self._inode = path.stat().st_ino
        except OSError as error:
            self._socket.close()
            raise EmulatorError(
                f"cannot listen at {path}: {error.strerror}; the folder must exist and be writable"
            ) from error
        except EmulatorError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Descriptor that is readable when a client waits."""
        return self._socket.fileno()

    def accept(self) -> socket.socket | None:
        """The next waiting client as a non-blocking socket; None when it has gone away again."""
        try:
            client, _ = self._socket.accept()
        except OSError:
            return None
        client.setblocking(False)
        return client

    def close(self) -> None:
        """Stop listening and remove the path, unless somebody else has taken it meanwhile."""
        self._socket.close()
        with contextlib.suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def _make_way(path: Path, kind: socket.SocketKind) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise EmulatorError(f"{path} exists and is not a socket; remove it or choose another path")
    with socket.socket(socket.AF_UNIX, kind) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            path.unlink()  # left behind by a process that was killed
            return
    raise EmulatorError(f"another process listens at {path}; stop it or choose another path")
