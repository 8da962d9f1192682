"""The client against daemons that are slow, foreign, or gone."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest

from runtime.link import protocol
from runtime.link.client import Client
from runtime.link.errors import LinkTimeout, NoDaemon, ProtocolError, Refused
from runtime.link.server import Limits


def framed(message: Any) -> bytes:
    return protocol.frame(msgpack.packb(message))


HELLO = framed({"reflexd": "1", "protocol": 1})


@pytest.fixture
def say(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Somebody who says `data` to whoever connects, and then closes or says nothing more."""
    done = threading.Event()
    threads: list[threading.Thread] = []

    def start(data: bytes, then_close: bool = True) -> Path:
        path = tmp_path / "somebody.sock"
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(20)

        def serve() -> None:
            with listening, contextlib.suppress(TimeoutError, OSError):
                accepted, _ = listening.accept()
                with accepted:
                    accepted.sendall(data)
                    if not then_close:
                        done.wait(20)

        threads.append(threading.Thread(target=serve))
        threads[-1].start()
        return path

    yield start
    done.set()
    for thread in threads:
        thread.join()


def test_results_refusals_and_a_stream(launch: Callable[..., Any]) -> None:
    daemon = launch()
    client = daemon.client()
    assert client.daemon_version == "9.9.9"
    assert client.request("arm") == {"mode": "HOLD"}
    with pytest.raises(Refused) as caught:
        client.request("start")
    assert caught.value.code == "not_ready"
    assert caught.value.reasons == ("sensor imu: no reading yet", "mode is HOLD")
    stream = client.stream("watch", interval=0.02)
    assert next(stream) == {"interval": 0.02}
    assert [next(stream)["mode"] for _ in range(3)] == ["HOLD"] * 3


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NoDaemon, match="no daemon answers at"):
        Client(tmp_path / "nobody.sock")


def test_another_protocol_is_told_clearly(say: Callable[..., Path]) -> None:
    path = say(framed({"reflexd": "7.0.0", "protocol": 2}))
    with pytest.raises(
        ProtocolError, match=r"reflexd 7.0.0\) that speaks protocol 2, expected protocol 1; use the"
    ):
        Client(path)


@pytest.mark.parametrize(
    "data", [b"SSH-2.0-OpenSSH_9\r\n", framed([1]), framed({"a": 1}), b"\x01\x00\x00\x00\xc1"]
)
def test_something_else_than_reflexd(say: Callable[..., Path], data: bytes) -> None:
    with pytest.raises(ProtocolError, match="not reflexd"):
        Client(say(data))


def test_silence_is_a_timeout(say: Callable[..., Path]) -> None:
    with pytest.raises(LinkTimeout, match=r"did not answer within 0.1 s"):
        Client(say(b"", then_close=False), 0.1)


def test_silence_after_the_greeting_is_a_timeout(say: Callable[..., Path]) -> None:
    path = say(HELLO, then_close=False)
    with Client(path, 0.3) as client, pytest.raises(LinkTimeout, match="status"):
        client.request("status")


def test_a_daemon_that_goes_away(say: Callable[..., Path]) -> None:
    with Client(say(HELLO)) as client, pytest.raises(NoDaemon, match=r"closed the connection|is gone"):
        client.request("status")


def test_an_error_about_the_connection_is_not_an_answer(say: Callable[..., Path]) -> None:
    path = say(HELLO + protocol.error(None, "half_sent", "too slow"))
    with Client(path) as client, pytest.raises(ProtocolError, match="too slow"):
        client.request("status")


def test_answers_to_other_requests_are_passed_over(say: Callable[..., Path]) -> None:
    answers = (
        protocol.error(99, "late", "an old refusal") + protocol.result(98, b"\x01") + protocol.result(1, b"\x02")
    )
    with Client(say(HELLO + answers)) as client:
        assert client.request("status") == 2


def test_a_full_house(launch: Callable[..., Any]) -> None:
    daemon = launch(limits=Limits(connections=1))
    daemon.client()
    with daemon.client() as extra, pytest.raises(NoDaemon, match="sent this client away"):
        extra.request("status")
