"""sd_notify against a real datagram socket."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.notify import Notifier, watchdog_period_s


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """What $NOTIFY_SOCKET says, and the socket behind it."""
    name = f"@reflexd-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name[1:] if name[0] == "@" else name)
        listening.settimeout(20)
        yield name, listening


def test_everything_that_is_told(manager: tuple[str, socket.socket]) -> None:
    name, listening = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    try:
        tell: list[tuple[Callable[[], bool], bytes]] = [
            (notifier.ready, b"READY=1"),
            (lambda: notifier.status("arm: HOLD"), b"STATUS=arm: HOLD"),
            (lambda: notifier.status("two\nlines \udc80"), b"STATUS=two lines ?"),
            (notifier.watchdog, b"WATCHDOG=1"),
            (notifier.stopping, b"STOPPING=1"),
        ]
        for call, expected in tell:
            assert call() is True
            assert listening.recv(1000) == expected
        from_another_thread = threading.Thread(target=notifier.watchdog)
        from_another_thread.start()
        from_another_thread.join()
        assert listening.recv(1000) == b"WATCHDOG=1"
    finally:
        notifier.close()
    assert notifier.ready() is False


def test_a_manager_that_does_not_listen_never_holds_anybody_up(manager: tuple[str, socket.socket]) -> None:
    name, _ = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    try:
        # Nobody reads; the queue of a datagram socket is short, and a blocking send would wait here for ever.
        assert not all(notifier.watchdog() for _ in range(10_000))
    finally:
        notifier.close()


@pytest.mark.parametrize("given", [None, "", "/nonexistent/notify", "vsock:2:1234", "relative", "@nobody-listens"])
def test_without_a_manager_nothing_happens(given: str | None) -> None:
    notifier = Notifier({} if given is None else {"NOTIFY_SOCKET": given})
    try:
        assert notifier.ready() is False
        assert notifier.status("text") is False
    finally:
        notifier.close()


@pytest.mark.parametrize(
    ("env", "period"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "2000000"}, 2.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": ""}, None),
    ],
)
def test_the_period_of_the_watchdog(env: dict[str, str], period: float | None) -> None:
    assert watchdog_period_s(env) == period
