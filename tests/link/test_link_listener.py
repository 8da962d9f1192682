"""The socket file: permissions, leftovers of a dead daemon, and one daemon per path."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.link.errors import SocketError
from runtime.link.listener import group_id, listen


@pytest.mark.parametrize(
    ("group", "everyone", "mode"), [(None, False, 0o600), (0, False, 0o660), (0, True, 0o666)]
)
def test_mode_and_group(tmp_path: Path, group: int | None, everyone: bool, mode: int) -> None:
    own = None if group is None else os.getegid()
    listener = listen(tmp_path / "run" / "a.sock", own, everyone)
    try:
        found = listener.path.stat()
        assert stat.S_IMODE(found.st_mode) == mode
        assert own is None or found.st_gid == own
    finally:
        listener.close()
    assert not listener.path.exists()


def test_the_socket_of_a_dead_daemon_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    listener = listen(path, None, False)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    listener.close()


def test_a_second_daemon_is_told(launch: Callable[..., Any]) -> None:
    first = launch()
    with pytest.raises(SocketError, match=r"another process listening at .*stop the other reflexd"):
        launch()
    assert first.wire().ask("version")["ok"] is True


def test_the_lock_keeps_the_path_even_when_nobody_can_connect(tmp_path: Path) -> None:
    first = listen(tmp_path / "a.sock", None, False)
    try:
        first.path.unlink()
        with pytest.raises(SocketError, match="another process listening"):
            listen(first.path, None, False)
    finally:
        first.close()
    listen(first.path, None, False).close()


def test_a_listener_without_our_lock_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as foreign:
        foreign.bind(str(path))
        foreign.listen()
        with pytest.raises(SocketError, match="another process listening"):
            listen(path, None, False)
    assert path.exists()


def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    path.write_text("precious")
    with pytest.raises(SocketError, match="is not a socket"):
        listen(path, None, False)
    assert path.read_text() == "precious"


def test_paths_that_the_kernel_would_not_take(tmp_path: Path) -> None:
    with pytest.raises(SocketError, match="expected at most 107"):
        listen(tmp_path / ("x" * 108), None, False)
    with pytest.raises(SocketError, match=r"cannot listen at /proc/none/a.sock"):
        listen(Path("/proc/none/a.sock"), None, False)


def test_an_unknown_group_is_told() -> None:
    with pytest.raises(SocketError, match="groupadd --system no_such_group"):
        group_id("no_such_group")
