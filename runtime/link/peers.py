"""Who is at the other end of a Unix socket, by the kernel's word, and what they may do."""

from __future__ import annotations

import enum
import os
import socket
import struct
from dataclasses import dataclass

_SO_PEERGROUPS = 59
"""Linux 4.13: supplementary groups of the peer (asm-generic/socket.h); Python has no name for it."""

_UCRED = struct.Struct("iII")
"""struct ucred: pid, uid, gid (unix(7))."""

_GROUPS_BYTES = 1024
"""The most that Python's getsockopt fetches: 256 groups."""


class Role(enum.IntEnum):
    """What a peer may do; a higher role may do everything that a lower one may."""

    OBSERVER = 0
    """Look, and stop the robot at once."""
    OPERATOR = 1
    """Everything."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A process at the other end of a socket, as it was when it connected."""

    pid: int
    """0 when the process lives in a PID namespace that cannot be seen from here."""
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()
    """Supplementary groups."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who operates the robot."""

    owner: int
    """User id of the daemon."""
    group: int | None = None
    """Id of the group whose members operate the robot; None: no such group."""

    def role(self, peer: Peer) -> Role:
        """Operators are root, the daemon's own user and the members of the group; all others look on."""
        member = self.group is not None and (self.group == peer.gid or self.group in peer.groups)
        return Role.OPERATOR if member or peer.uid in (0, self.owner) else Role.OBSERVER


def credentials(connection: socket.socket) -> Peer:
    """The peer of a connected Unix socket (SO_PEERCRED, SO_PEERGROUPS; unix(7), socket(7)).

    A peer with more than 256 supplementary groups counts with its primary group only.
    """
    pid, uid, gid = _UCRED.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        raw = b""
    return Peer(pid, uid, gid, frozenset(struct.unpack(f"{len(raw) // 4}I", raw)))


def own_access(group: int | None) -> Access:
    """The access rule of this process."""
    return Access(os.geteuid(), group)
