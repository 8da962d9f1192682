"""Tells systemd how the daemon is doing (sd_notify(3)): without libsystemd, without waiting, without raising."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """The service manager's socket. Every method is callable from any thread and returns whether it was told.

    Without `$NOTIFY_SOCKET` (not started by systemd) nothing is told to anybody.
    """

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._socket: socket.socket | None = None
        self._address = ""
        given = env.get("NOTIFY_SOCKET", "")
        # Other kinds (vsock:...) are for service managers outside of a virtual machine.
        if given.startswith(("/", "@")):
            self._address = "\0" + given[1:] if given[0] == "@" else given
            self._socket = socket.socket(
                socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
            )

    def ready(self) -> bool:
        """Start-up is complete."""
        return self._tell(b"READY=1")

    def status(self, text: str) -> bool:
        """One line for a person; `systemctl status` shows it."""
        return self._tell(b"STATUS=" + " ".join(text.split()).encode(errors="replace"))

    def watchdog(self) -> bool:
        """The daemon is alive; must come at least twice per period of the watchdog."""
        return self._tell(b"WATCHDOG=1")

    def stopping(self) -> bool:
        """Shutting down has begun."""
        return self._tell(b"STOPPING=1")

    def close(self) -> None:
        """Tell nothing any more."""
        if self._socket is not None:
            self._socket.close()

    def _tell(self, message: bytes) -> bool:
        if self._socket is None:
            return False
        try:
            self._socket.sendto(message, self._address)
        except OSError:
            return False
        return True


def watchdog_period_s(env: Mapping[str, str] = os.environ) -> float | None:
    """How often systemd must hear from this process at least, s (sd_watchdog_enabled(3)); None: not at all."""
    try:
        period_us = int(env["WATCHDOG_USEC"])
        meant_for = int(env.get("WATCHDOG_PID", os.getpid()))
    except (KeyError, ValueError):
        return None
    return period_us / 1e6 if period_us > 0 and meant_for == os.getpid() else None
