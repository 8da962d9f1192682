"""The listening socket: made with the right permissions, one daemon per path, leftovers cleared away."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from runtime.link.errors import SocketError

SOCKET_PATH_MAX = 107
"""Longest path of a Unix socket, bytes: `sun_path` has 108 with the closing zero (unix(7))."""

_BACKLOG = 64


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening socket and the lock that keeps its path for this process."""

    path: Path
    socket: socket.socket
    lock: int

    def close(self) -> None:
        """Stop listening and remove the path."""
        self.socket.close()
        with suppress(OSError):
            self.path.unlink()
        os.close(self.lock)


def group_id(name: str) -> int:
    """Id of a group. Raises SocketError."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise SocketError(
            f'found no group "{name}" on this machine, expected the group that operates the robot; '
            f"create it (groupadd --system {name}) or correct socket.group"
        ) from None


def listen(path: Path, group: int | None, everyone: bool) -> Listener:
    """A listening, non-blocking socket at `path`.

    Its mode is 0600; with `group` 0660, owned by the group; with `everyone` 0666. Raises SocketError.
    """
    length = len(os.fsencode(path))
    if length > SOCKET_PATH_MAX:
        raise SocketError(
            f"found a socket path of {length} bytes ({path}), expected at most {SOCKET_PATH_MAX}; "
            "choose a shorter directory or name"
        )
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = _lock(path)
    except OSError as error:
        raise SocketError(f"cannot listen at {path}: {error.strerror}; check the directory's owner") from error
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _clear(path)
        listening.bind(str(path))
        # Nobody can connect before `listen`, so the permissions are right from the first moment.
        path.chmod(0o666 if everyone else 0o600 if group is None else 0o660)
        if group is not None:
            os.chown(path, -1, group)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        os.close(lock)
        hint = "; the daemon's user must belong to the group" if error.errno == errno.EPERM else ""
        raise SocketError(f"cannot listen at {path}: {error.strerror or error}{hint}") from error
    except SocketError:
        listening.close()
        os.close(lock)
        raise
    return Listener(path, listening, lock)


def _lock(path: Path) -> int:
    """A lock that dies with the process: two daemons that start together cannot both find the path free."""
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise _taken(path) from None
    return lock


def _clear(path: Path) -> None:
    """Remove the socket of a daemon that died; leave everything else alone."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketError(
            f"found something that is not a socket at {path}; remove it or choose another socket.path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        found = probe.connect_ex(str(path))
    if found not in (errno.ECONNREFUSED, errno.ENOENT):
        raise _taken(path)
    with suppress(FileNotFoundError):
        path.unlink()


def _taken(path: Path) -> SocketError:
    return SocketError(
        f"found another process listening at {path}, expected none; stop the other reflexd "
        "(reflexctl version shows it) or give this one its own socket.path"
    )
