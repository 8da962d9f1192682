"""The openpi backend against a real websocket server that speaks openpi's protocol, well and badly."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
import urllib.request

import msgpack
import numpy as np
import pytest
from websockets.server import ServerProtocol

from runtime.policy.errors import PolicyError
from runtime.policy.inline import InlinePolicy
from runtime.policy.worker import backends
from runtime.policy.worker.errors import BackendError, Unavailable, WrongShape
from runtime.policy.worker.remote.openpi import OpenpiBackend
from runtime.policy.worker.wire import Can
from tests.policy import openpi_server
from tests.policy.openpi_server import HORIZON, SIZE, OpenpiServer, array, ramp

GIVEN = {"threads": 1, "timeout": 20.0, "period": 0.02, "horizon": HORIZON, "action_size": SIZE}
OBSERVATION = np.array([1, 2, 3, 4, 5], np.float32)


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("REFLEXD_POLICY_KEY", raising=False)


@pytest.fixture
def server():
    with OpenpiServer() as made:
        yield made


def backend(server, **options):
    return OpenpiBackend("", {**GIVEN, "url": server.url, "keys": {"state": [0, 5]}, **options})


def until(ask):
    """The first answer of a server that may be about to come back."""
    end = time.monotonic() + 20.0
    while True:
        try:
            return ask()
        except Unavailable:
            assert time.monotonic() < end
            time.sleep(0.005)


def answer(asked, observation=OBSERVATION):
    return backends.normalise(until(lambda: asked.infer(observation)), HORIZON, SIZE)


def listening(stack, serve):
    """The URL of a server that lets `serve` have the first connection."""
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def accept():
        connection, _ = listener.accept()
        stack.push(connection)
        serve(connection)

    threading.Thread(target=accept, daemon=True).start()
    return f"ws://localhost:{listener.getsockname()[1]}"


def test_an_observation_goes_there_and_actions_come_back(server):
    asked = backend(server, keys={"state": [0, 5], "gripper": [4, 5]})
    assert asked.infer(OBSERVATION).tolist() == [[15.0] * SIZE, [16.0] * SIZE, [17.0] * SIZE, [18.0] * SIZE]
    (request,) = server.requests
    assert set(request) == {"state", "gripper"}
    assert request["state"].dtype == np.float32
    assert request["gripper"].tolist() == [5.0]
    answer(asked)
    assert server.connections == 1


def test_the_task_is_the_prompt(server):
    asked = backend(server)
    asked.set_task("fold the towel")
    answer(asked)
    other = backend(server, prompt="task")
    other.set_task("fold")
    answer(other)
    assert server.requests[0]["prompt"] == "fold the towel"
    assert server.requests[1]["task"] == "fold"


def test_the_names_and_columns_of_the_actions(server):
    server.answer = lambda connection, request: {"acts": array(np.arange(20.0).reshape(4, 5), "<f8")}
    assert backend(server, actions="acts", columns=[1, 4]).infer(OBSERVATION)[0].tolist() == [1.0, 2.0, 3.0]


def test_a_server_that_says_nothing_of_itself_has_no_plan_to_continue(server):
    asked = backend(server)
    answer(asked)
    assert backends.abilities(asked) == Can.TASK


def test_a_server_that_can_continue_a_plan(server):
    server.metadata = {"continue_plan": True}
    asked = backend(server)
    answer(asked)
    assert backends.abilities(asked) == Can.CONTINUE | Can.TASK
    asked.continue_plan(OBSERVATION, np.ones((2, SIZE), np.float32), 1)
    assert server.requests[1]["plan"].tolist() == [[1.0] * SIZE] * 2
    assert server.requests[1]["delay"] == 1
    assert "plan" not in server.requests[0]
    # Another server in its place, which cannot: a new worker has to tell the daemon so.
    server.metadata = {}
    server.cut()
    while server.connections == 1:
        time.sleep(0.005)
    with pytest.raises(BackendError, match="does not continue plans any more"):
        until(lambda: asked.continue_plan(OBSERVATION, np.ones((2, SIZE), np.float32), 1))


@pytest.mark.parametrize(
    ("behave", "error"),
    [
        (openpi_server.fails, "the server failed: KeyError: 'observation/state'"),
        (openpi_server.half_and_gone, "ConnectionClosedError"),
        (lambda connection, request: connection.transport.abort(), "ConnectionClosedError"),
        (lambda connection, request: connection.close(1011, "out of memory"), "1011 .*out of memory"),
        (lambda connection, request: b"\xc1 nonsense", "ValueError|FormatError"),
        (lambda connection, request: b"\x93\x01\x02\x03", "found a message of type list, expected a map"),
        (
            lambda connection, request: {"actions": array(b"\0" * 8 * 12, "|O", [4, 3])},
            r"found an array of type '\|O', expected numbers",
        ),
        (
            lambda connection, request: {"actions": array(b"\0" * 8, "<f4", [4, 3])},
            r"type float32, shape \[4, 3\] and 8 bytes",
        ),
        (lambda connection, request: {"actions": array(np.full((4, 3), np.nan))}, "its actions are not finite"),
        (lambda connection, request: b"\0" * (17 * 2**20), "1009|too big|PayloadTooBig"),
    ],
)
def test_an_answer_that_is_none_costs_one_chunk(server, behave, error):
    server.answer = behave
    asked = backend(server)
    with pytest.raises(Unavailable, match=error):
        asked.infer(OBSERVATION)
    server.answer = lambda connection, request: ramp(request)
    assert answer(asked)[0, 0] == 15.0


@pytest.mark.parametrize(
    ("reply", "kind", "error"),
    [
        ({"actions": array(np.zeros((5, 3)))}, WrongShape, r"found output of shape \[5, 3\], expected \[4, 3\]"),
        ({"actions": array(np.zeros((4, 3)), "|b1")}, WrongShape, "of type bool, expected an array of numbers"),
        ({"actions": "up"}, WrongShape, "of type str"),
        ({"action": array(np.zeros((4, 3)))}, BackendError, r"found 'action', expected 'actions'"),
        ({}, BackendError, "found nothing, expected 'actions'"),
    ],
)
def test_a_server_with_another_model_is_a_mistake(server, reply, kind, error):
    server.answer = lambda connection, request: reply
    with pytest.raises(kind, match=error) as caught:
        answer(backend(server))
    assert not isinstance(caught.value, Unavailable)


@pytest.mark.parametrize("behave", [openpi_server.silent, openpi_server.half])
def test_a_server_that_does_not_answer_in_time(server, behave):
    server.answer = behave
    asked = backend(server, deadline=0.2)
    with pytest.raises(Unavailable, match=r"ws://localhost:\d+: no answer within 0.2 s"):
        asked.infer(OBSERVATION)
    server.answer = lambda connection, request: ramp(request)
    assert answer(asked)[0, 0] == 15.0
    assert server.connections >= 2, "its late answer would be taken for the next one"


def test_a_late_answer_is_never_that_to_the_next_question(server):
    """The server thinks past the deadline and answers then; the next observation gets an answer of its own."""
    server.answer = openpi_server.thinks(0.5)
    asked = backend(server, deadline=0.2)
    with pytest.raises(Unavailable):
        asked.infer(np.full(5, 100, np.float32))
    server.answer = lambda connection, request: ramp(request)
    assert answer(asked)[0, 0] == 15.0


def test_a_server_that_answers_twice_is_not_believed(server):
    server.answer = openpi_server.twice
    asked = backend(server)
    assert asked.infer(OBSERVATION)[0, 0] == 15.0
    time.sleep(1.0)  # one that comes after the next question cannot be told from its answer: they have no numbers
    assert answer(asked, 2 * OBSERVATION)[0, 0] == 30.0


def test_pings_are_not_missed_while_the_server_thinks(server, monkeypatch):
    monkeypatch.setattr("runtime.policy.worker.remote.openpi._PING_S", 0.02)
    server.answer = openpi_server.thinks(0.4)
    asked = backend(server)
    assert asked.infer(OBSERVATION)[0, 0] == 15.0
    assert asked.infer(OBSERVATION)[0, 0] == 15.0
    assert server.connections == 1


def test_a_server_that_does_not_read_is_given_up_in_time():
    """The question does not fit into what the kernel buffers, so sending it takes for ever."""

    def greet(connection):
        protocol = ServerProtocol()
        while protocol.state.name == "CONNECTING":
            protocol.receive_data(connection.recv(65536))
            for request in protocol.events_received():
                protocol.send_response(protocol.accept(request))
        protocol.send_binary(msgpack.packb({}))
        for data in protocol.data_to_send():
            connection.sendall(data)

    size = 16 * 2**20
    with contextlib.ExitStack() as stack:
        options = {"url": listening(stack, greet), "deadline": 0.5, "keys": {"state": [0, size]}}
        asked = OpenpiBackend("", {**GIVEN, **options})
        with pytest.raises(Unavailable, match=r"no answer within 0\.5 s"):
            asked.infer(np.zeros(size, np.float32))


def test_a_server_that_is_not_there(server):
    server.close()
    asked = backend(server)
    with pytest.raises(Unavailable, match=r"ws://localhost:\d+: ConnectionRefusedError"):
        asked.infer(OBSERVATION)
    with OpenpiServer(server.port):
        assert answer(asked)[0, 0] == 15.0


def test_a_server_that_is_something_else():
    def web(connection):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with contextlib.ExitStack() as stack:
        asked = OpenpiBackend("", {**GIVEN, "url": listening(stack, web), "keys": {"state": [0, 5]}})
        with pytest.raises(Unavailable, match="HTTP 404"):
            asked.infer(OBSERVATION)


def test_an_authority_that_is_none(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    options = {"url": "wss://gpu", "ca": str(tmp_path / "ca.pem"), "keys": {"state": [0, 5]}}
    with pytest.raises(BackendError, match=r"options\.ca: .*ca\.pem cannot be read as a PEM file"):
        OpenpiBackend("", {**GIVEN, **options})


def test_no_redirect_is_followed(server):
    """A server could otherwise send the robot, and its key, to any other."""

    def redirect(connection):
        connection.recv(65536)
        head = f"HTTP/1.1 302 Found\r\nLocation: {server.url}\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(head.encode())

    with contextlib.ExitStack() as stack:
        asked = OpenpiBackend("", {**GIVEN, "url": listening(stack, redirect), "keys": {"state": [0, 5]}})
        with pytest.raises(Unavailable, match=r"redirect|HTTP 302"):
            asked.infer(OBSERVATION)
    assert server.connections == 0


def test_the_key_goes_into_the_header_and_nowhere_in_the_clear(server, monkeypatch):
    answer(backend(server))
    assert "Authorization" not in server.headers[0]
    monkeypatch.setenv("REFLEXD_POLICY_KEY", "sesame")
    answer(backend(server))
    assert server.headers[1]["Authorization"] == "Api-Key sesame"
    with pytest.raises(BackendError, match="expected wss://") as caught:
        OpenpiBackend("", {**GIVEN, "url": "ws://gpu.local", "keys": {"state": [0, 5]}})
    assert "sesame" not in str(caught.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for localhost that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the test's certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    made = (str(folder / "cert.pem"), str(folder / "key.pem"))
    subprocess.run(
        (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
            f"-subj /CN=localhost -addext subjectAltName=DNS:localhost -out {made[0]} -keyout {made[1]}"
        ).split(),
        check=True,
        capture_output=True,
    )
    return made


def test_tls(certificate):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*certificate)
    with OpenpiServer(tls=tls) as server:
        assert answer(backend(server, ca=certificate[0]))[0, 0] == 15.0
        with pytest.raises(Unavailable, match="certificate verify failed"):
            backend(server).infer(OBSERVATION)


def test_keys_are_needed():
    with pytest.raises(BackendError, match=r"keys: found nothing, expected the server's names"):
        OpenpiBackend("", {**GIVEN, "url": "ws://gpu"})


def test_the_server_of_this_test_is_healthy(server):
    with urllib.request.urlopen(f"http://localhost:{server.port}/healthz", timeout=20) as response:
        assert response.status == 200


async def test_inside_the_tick_the_connection_ends_with_the_policy(server, rig):
    bench = rig(backend="openpi", options={"url": server.url, "keys": {"state": [0, 5]}})
    policy = InlinePolicy(bench.worker._spec, bench.events, bench.chunks.append)
    await policy.start()
    assert policy.request(0)
    assert bench.chunks[-1].actions[0, 0] == 0.0
    await policy.close()
    await bench.until(lambda: not server.open, "the end of the connection")


class TestInTheWorker:
    """What the daemon sees of all this."""

    @staticmethod
    def spec(server, **more):
        options = {"url": server.url, "keys": {"state": [0, 5]}, **more}
        return {"backend": "openpi", "options": options, "paths": ()}

    async def test_a_chunk(self, server, rig):
        bench = rig(**self.spec(server))
        bench.worker.set_task("fold")
        await bench.worker.start()
        assert (await bench.chunk(7.0)).actions[0].tolist() == [7.0] * SIZE
        assert server.requests[0]["prompt"] == "fold", "the warm-up"
        assert bench.worker.can == Can.TASK

    async def test_what_the_server_can_is_known_after_the_start(self, server, rig):
        server.metadata = {"continue_plan": True}
        bench = rig(**self.spec(server))
        await bench.worker.start()
        assert bench.worker.can == Can.CONTINUE | Can.TASK

    async def test_a_server_that_is_dead_at_the_start_is_waited_for(self, server, rig):
        server.close()
        bench = rig(**self.spec(server))
        await bench.worker.start()
        assert not bench.worker.ready
        assert "ConnectionRefusedError" in (await bench.failure("unavailable")).message
        assert not bench.worker.request(bench.now())
        with OpenpiServer(server.port, {"continue_plan": True}):
            await bench.until(lambda: bench.worker.ready, "the server")
            assert (await bench.chunk(7.0)).actions[0, 0] == 7.0
            assert bench.worker.can & Can.CONTINUE
        assert bench.worker.restarts == 0

    async def test_a_server_that_restarts_costs_chunks_and_no_worker(self, server, rig):
        bench = rig(**self.spec(server))
        await bench.worker.start()
        await bench.chunk()
        pid = bench.worker.pid
        server.close()
        for _ in range(2):
            bench.ask()
            await bench.until(lambda: not bench.worker.busy, "an answer")
        with OpenpiServer(server.port):
            seen = len(bench.chunks)
            while len(bench.chunks) == seen:
                bench.ask(7.0)
                await bench.until(lambda: not bench.worker.busy, "an answer")
            assert bench.chunks[-1].actions[0, 0] == 7.0
        assert bench.worker.pid == pid
        assert set(bench.worker.failures) == {"unavailable"}
        assert bench.events.counts["policy.unavailable"] == bench.events.counts["policy.available"] == 1

    async def test_the_loop_turns_while_a_server_is_silent(self, server, rig):
        bench = rig(**self.spec(server, deadline=0.5))
        await bench.worker.start()
        server.answer = openpi_server.silent
        bench.ask()
        turns = 0
        while bench.worker.busy:
            assert not bench.worker.request(bench.now()), "one question at a time"
            await asyncio.sleep(0.002)
            turns += 1
        assert turns > 10, "250 when all is quiet"
        assert bench.worker.failures == {"unavailable": 1}
        assert "no answer within 0.5 s" in (await bench.failure("unavailable")).message

    async def test_a_server_with_another_model_is_told_at_the_start(self, server, rig):
        bench = rig(**self.spec(server), horizon=7)
        with pytest.raises(PolicyError, match=r"found output of shape \[4, 3\], expected \[7, 3\]"):
            await bench.worker.start()
