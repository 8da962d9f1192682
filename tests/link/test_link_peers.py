"""Who may do what: the rule, the kernel's credentials, and the server that applies both."""

from __future__ import annotations

import grp
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.link.peers import Access, Peer, Role, credentials

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it takes another user's identity")

OPERATE = ["preflight", "promote", "arm", "start", "stop", "disarm", "reset", "command", "task", "move"]
LOOK = ["status", "watch", "joints", "limits", "tasks", "events", "version", "histograms", "estop"]


@pytest.mark.parametrize(
    ("peer", "role"),
    [
        (Peer(1, 0, 0), Role.OPERATOR),
        (Peer(1, 500, 500), Role.OPERATOR),
        (Peer(1, 1000, 44), Role.OPERATOR),
        (Peer(1, 1000, 1000, frozenset({20, 44})), Role.OPERATOR),
        (Peer(1, 1000, 1000, frozenset({20})), Role.OBSERVER),
        (Peer(1, 44, 500), Role.OBSERVER),
    ],
)
def test_the_rule(peer: Peer, role: Role) -> None:
    assert Access(owner=500, group=44).role(peer) == role


def test_without_a_group_nobody_is_a_member() -> None:
    assert Access(owner=500).role(Peer(1, 1000, 0, frozenset({0, 44}))) == Role.OBSERVER


def test_the_kernel_tells_who_connected() -> None:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with here, there:
        peer = credentials(here)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.groups == frozenset(os.getgroups())


def test_observers_look_and_stop_and_nothing_else(launch: Callable[..., Any], stranger: Peer) -> None:
    daemon = launch()
    daemon.peer_of = lambda _: stranger
    wire = daemon.wire()
    for op in OPERATE:
        error = wire.ask(op)["error"]
        assert error["code"] == "not_permitted"
        assert f"found user id {stranger.uid}, expected root" in error["message"]
    assert daemon.done == []
    for op in LOOK:
        assert daemon.wire().ask(op)["ok"] is True
    assert ("estop", {}) in daemon.done


def test_members_of_the_group_operate(launch: Callable[..., Any], stranger: Peer) -> None:
    group = grp.getgrgid(os.getegid())
    daemon = launch(group=group.gr_name)
    daemon.peer_of = lambda _: Peer(1, stranger.uid, stranger.gid, frozenset({group.gr_gid}))
    assert daemon.wire().ask("arm")["ok"] is True
    daemon.peer_of = lambda _: stranger
    assert f"member of the group {group.gr_name}" in daemon.wire().ask("arm")["error"]["message"]


_ASK = """
import os, sys
path, uid, gid, groups = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), [int(g) for g in sys.argv[4:]]
from runtime.link.client import Client
from runtime.link.errors import AccessDenied, Refused
os.setgroups(groups); os.setgid(gid); os.setuid(uid)
try:
    with Client(path, 20) as client:
        client.request("estop")
        try:
            client.request("arm")
            print("operator")
        except Refused as error:
            print(error.code)
except AccessDenied:
    print("denied")
"""


def ask_as(path: Path, uid: int, gid: int, *groups: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(path), str(uid), str(gid), *map(str, groups)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.strip()


@needs_root
def test_another_user_is_denied_or_looks_on_or_operates(launch: Callable[..., Any]) -> None:
    group = grp.getgrnam("daemon")
    uid = gid = 54321
    # pytest's own folder is closed to other users; this one is open to them, as /run/reflexd is.
    with tempfile.TemporaryDirectory() as folder:
        public = Path(folder)
        public.chmod(0o755)
        closed = launch(public / "closed.sock")
        grouped = launch(public / "grouped.sock", group=group.gr_name)
        everyone = launch(public / "everyone.sock", group=group.gr_name, everyone=True)
        assert ask_as(closed.path, uid, gid) == "denied"
        assert ask_as(grouped.path, uid, gid) == "denied"
        assert ask_as(grouped.path, uid, gid, group.gr_gid) == "operator"
        assert ask_as(grouped.path, uid, group.gr_gid) == "operator"
        assert ask_as(everyone.path, uid, gid) == "not_permitted"
        assert ask_as(everyone.path, uid, gid, group.gr_gid) == "operator"
        assert everyone.done.count(("estop", {})) == 2
