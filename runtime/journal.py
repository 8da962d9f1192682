"""The systemd journal's own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram per record, with fields."""

from __future__ import annotations

import errno
import os
import re
import socket
import struct
import uuid
from collections.abc import Mapping
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from functools import cache
from pathlib import Path
from typing import Any

SOCKET = Path("/run/systemd/journal/socket")
IDENTIFIER = "reflexd"
MESSAGE_IDS = uuid.UUID("774f4c6c-1d19-5f16-a4b7-e77052de094a")
"""Namespace of the message ids: the UUID of version 5 of `reflexd` in the namespace of DNS names."""

# syslog(3)
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_NOT_ALLOWED = re.compile(r"[^A-Z0-9_]")
_NAME_LENGTH = 64
_SEALS = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE


def is_journal(descriptor: int, env: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written to the descriptor ends in the journal (`$JOURNAL_STREAM`, systemd.exec(5))."""
    device, _, inode = env.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))


@cache
def message_id(event: str) -> str:
    """MESSAGE_ID of all events of this name."""
    return uuid.uuid5(MESSAGE_IDS, event).hex


def pack(record: Mapping[str, Any]) -> bytes:
    """A record of the log (`time`, `level`, `event`, `message`, the event's fields) as the journal takes it."""
    event = str(record.get("event", ""))
    # What people read is the message alone; a stack must not hide in a field.
    told = [str(record.get("message", event)), *([str(record["exception"])] if "exception" in record else [])]
    fields = {
        "MESSAGE": "\n".join(told),
        "PRIORITY": _PRIORITY.get(str(record.get("level")), 6),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "MESSAGE_ID": message_id(event),
        **{_name(key): value for key, value in record.items() if key not in ("message", "level", "exception")},
    }
    return b"".join(_field(name, str(value)) for name, value in fields.items())


class Journal:
    """Sends records to the journal. For one thread, which waits while the journal is slow."""

    def __init__(self, path: Path) -> None:
        """Send to the journal that listens at `path`, now or later."""
        self._path = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def send(self, record: bytes) -> None:
        """Send one packed record. Raises OSError when the journal does not take it."""
        try:
            self._socket.sendto(record, self._path)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            self._send_as_file(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send_as_file(self, record: bytes) -> None:
        """What is too large for a datagram goes as a sealed file in memory."""
        file = os.memfd_create("reflexd-log", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            with open(file, "wb", closefd=False) as writing:
                writing.write(record)
            fcntl(file, F_ADD_SEALS, _SEALS)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", file))]
            self._socket.sendmsg([], rights, 0, self._path)
        finally:
            os.close(file)


def _name(key: str) -> str:
    """`REFLEXD_KEY`: capitals, digits and underscores, at most 64 (other names the journal drops)."""
    return f"REFLEXD_{_NOT_ALLOWED.sub('_', key.upper())}"[:_NAME_LENGTH]


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="backslashreplace")
    if b"\n" in data:
        return b"%s\n%s%s\n" % (name.encode(), struct.pack("<Q", len(data)), data)
    return b"%s=%s\n" % (name.encode(), data)
