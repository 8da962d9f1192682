"""The control socket over real sockets: what it answers, and that no client can hurt it."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import msgpack
import numpy as np
import pytest

from runtime.link.peers import Peer
from runtime.link.server import Limits

Launch = Callable[..., Any]


def test_the_server_introduces_itself_and_answers(launch: Launch, loop_factory: Any, status_sample: Any) -> None:
    daemon = launch(loop=loop_factory)
    wire = daemon.wire()
    assert wire.hello == {"reflexd": "9.9.9", "protocol": 1}
    answer = wire.ask("status", 7)
    assert answer["id"] == 7
    assert answer["ok"] is True
    assert answer["result"]["buses"] == status_sample["buses"]
    assert wire.ask("version", 8) == {"id": 8, "ok": True, "result": {"reflexd": "9.9.9", "protocol": 1}}
    assert wire.ask("arm", 9, why="test") == {"id": 9, "ok": True, "result": {"mode": "HOLD"}}
    assert daemon.done == [("arm", {"why": "test"})]


def test_requests_that_arrive_one_byte_at_a_time(daemon: Any) -> None:
    wire = daemon.wire()
    body = msgpack.packb({"id": 1, "op": "version"})
    for byte in struct.pack("<I", len(body)) + body:
        wire.socket.sendall(bytes([byte]))
    assert wire.receive()["ok"] is True


def test_many_requests_in_one_write_are_answered_in_order(daemon: Any) -> None:
    wire = daemon.wire()
    bodies = [msgpack.packb({"id": number, "op": "version"}) for number in range(30)]
    wire.socket.sendall(b"".join(struct.pack("<I", len(body)) + body for body in bodies))
    assert [wire.receive()["id"] for _ in bodies] == list(range(30))


def test_a_slow_operation_does_not_hold_up_others(daemon: Any) -> None:
    wire = daemon.wire()
    wire.send({"id": 1, "op": "stop"})
    wire.send({"id": 2, "op": "estop"})
    assert wire.receive() == {"id": 2, "ok": True, "result": None}
    daemon._loop.call_soon_threadsafe(daemon.release.set)
    assert wire.receive() == {"id": 1, "ok": True, "result": None}
    assert [name for name, _ in daemon.done] == ["estop", "stop"]


def test_too_many_slow_operations_at_once_are_refused(launch: Launch) -> None:
    daemon = launch(limits=Limits(in_flight=2))
    wire = daemon.wire()
    for number in range(3):
        wire.send({"id": number, "op": "stop"})
    refused = wire.receive()
    assert (refused["id"], refused["error"]["code"]) == (2, "busy")
    daemon._loop.call_soon_threadsafe(daemon.release.set)
    assert {wire.receive()["id"], wire.receive()["id"]} == {0, 1}
    assert wire.ask("disarm", 9)["ok"] is True


def test_refusals_carry_their_reasons(daemon: Any) -> None:
    error = daemon.wire().ask("start")["error"]
    assert error == {
        "code": "not_ready",
        "message": "the policy cannot be started",
        "reasons": ["sensor imu: no reading yet", "mode is HOLD"],
    }


@pytest.mark.parametrize(
    ("op", "args", "code"),
    [
        ("dance", {}, "unknown_op"),
        ("watch", {"interval": "soon"}, "bad_request"),
        ("watch", {"interval": 0}, "bad_request"),
        ("watch", {"interval": float("nan")}, "bad_request"),
        ("events", {"since": -1}, "bad_request"),
        ("events", {"since": 1.5}, "bad_request"),
        ("events", {"follow": 1}, "bad_request"),
        ("huge", {}, "internal"),
    ],
)
def test_bad_requests_are_answered_and_the_connection_lives(
    daemon: Any, op: str, args: dict[str, Any], code: str
) -> None:
    wire = daemon.wire()
    assert wire.ask(op, 3, **args)["error"]["code"] == code
    assert wire.ask("version")["ok"] is True


@pytest.mark.parametrize("op", ["broken", "unpackable"])
def test_a_mistake_in_a_handler_is_told_and_the_connection_lives(daemon: Any, op: str) -> None:
    wire = daemon.wire()
    error = wire.ask(op)["error"]
    assert error["code"] == "internal"
    daemon.until(lambda: daemon.events.counts["link.handler_failed"] == 1)
    event = daemon.events.recent[-1]
    assert event.level == "error"
    assert event.fields["op"] == op
    assert "Traceback" in event.fields["traceback"]
    assert wire.ask("version")["ok"] is True


# Watching


def test_watch_pushes_the_status_until_the_client_closes(launch: Launch, loop_factory: Any) -> None:
    daemon = launch(loop=loop_factory)
    wire = daemon.wire()
    assert wire.ask("watch", 5, interval=0.03) == {"id": 5, "ok": True, "result": {"interval": 0.03}}
    for _ in range(3):
        pushed = wire.receive()
        assert (pushed["id"], pushed["event"], pushed["result"]["mode"]) == (5, "status", "HOLD")
    wire.close()
    daemon.until(lambda: not daemon.server._connections)
    calls = daemon.status_calls
    threading.Event().wait(0.2)
    assert daemon.status_calls <= calls + 1


def test_watch_is_never_faster_than_the_limit(launch: Launch) -> None:
    daemon = launch(limits=Limits(watch_interval_s=0.25))
    wire = daemon.wire()
    begin = time.monotonic()
    assert wire.ask("watch", interval=0.001)["result"] == {"interval": 0.25}
    for _ in range(4):
        wire.receive()
    assert time.monotonic() - begin > 0.6


def test_a_second_watch_replaces_the_first(daemon: Any) -> None:
    wire = daemon.wire()
    wire.ask("watch", 1, interval=0.02)
    wire.send({"id": 2, "op": "watch", "args": {"interval": 0.02}})
    while wire.receive()["id"] != 2:
        pass
    assert {wire.receive()["id"] for _ in range(10)} == {2}


def test_watching_again_and_again_is_still_one_watch(daemon: Any) -> None:
    wire = daemon.wire()
    for number in range(6):
        wire.send({"id": number, "op": "watch", "args": {"interval": 0.05}})
    while wire.receive()["id"] != 5:
        pass
    begin = time.monotonic()
    for _ in range(21):
        wire.receive()
    assert time.monotonic() - begin > 0.8


def test_one_status_serves_all_who_ask_within_its_age(launch: Launch) -> None:
    daemon = launch(limits=Limits(snapshot_age_s=1000.0))
    for _ in range(3):
        daemon.wire().ask("status")
    assert daemon.status_calls == 1


def test_status_after_a_command_shows_its_effect(launch: Launch) -> None:
    daemon = launch(limits=Limits(snapshot_age_s=1000.0))
    wire = daemon.wire()
    assert wire.ask("status")["result"]["done"] == 0
    for number, op in enumerate(["arm", "disarm"], 1):
        wire.ask(op)
        assert wire.ask("status")["result"]["done"] == number


def test_a_watcher_that_does_not_read_is_skipped_and_then_cut_off(launch: Launch) -> None:
    daemon = launch(limits=Limits(stuck_timeout_s=0.5, send_buffer=4096, watch_interval_s=0.002))
    slow, quick = daemon.wire(), daemon.wire()
    slow.ask("watch", interval=0.002)
    daemon.until(lambda: daemon.server.counters.skipped > 3)
    assert quick.ask("version")["ok"] is True
    daemon.until(lambda: daemon.server.counters.stuck == 1)
    while slow.receive() is not None:
        pass
    assert quick.ask("version")["ok"] is True
    assert daemon.events.counts["link.stuck"] == 1


def test_a_watcher_that_reads_again_gets_the_status_again(launch: Launch) -> None:
    daemon = launch(limits=Limits(stuck_timeout_s=60.0, send_buffer=4096, watch_interval_s=0.002))
    wire = daemon.wire()
    wire.ask("watch", interval=0.002)
    daemon.until(lambda: daemon.server.counters.skipped > 3)
    daemon.done.append("a mark that only a new status shows")
    while wire.receive()["result"].get("done") != 1:
        pass


# Events


def test_events_are_numbered_and_paged(daemon: Any) -> None:
    for number in range(70):
        daemon.events.emit("test.happened", "it happened", number=number)
    wire = daemon.wire()
    seen, since, pages = [], 0, 0
    while True:
        result = wire.ask("events", since=since)["result"]
        seen += result["events"]
        since, pages = result["next"], pages + 1
        if not result["more"]:
            break
    assert [event["sequence"] for event in seen] == list(range(1, 71))
    assert [event["fields"]["number"] for event in seen] == list(range(70))
    assert pages == 3
    assert wire.ask("events", since=since)["result"] == {"events": [], "next": 70, "more": False}
    assert wire.ask("events", since=10**9)["result"]["next"] == 70
    assert set(seen[0]) == {"sequence", "name", "level", "message", "mono_ns", "wall_ns", "fields"}


def test_following_events_from_any_thread(launch: Launch, loop_factory: Any) -> None:
    daemon = launch(loop=loop_factory)
    for number in range(40):
        daemon.events.emit("test.before", "earlier", number=number)
    wire = daemon.wire()
    first = wire.ask("events", 4, since=5, follow=True)["result"]
    numbers = [event["sequence"] for event in first["events"]]
    emitter = threading.Thread(target=lambda: daemon.events.emit("test.after", "later", value=np.float64(1.5)))
    emitter.start()
    emitter.join()
    while numbers[-1] < 41:
        pushed = wire.receive()
        assert (pushed["id"], pushed["event"]) == (4, "event")
        numbers.append(pushed["result"]["sequence"])
    assert numbers == list(range(6, 42))
    assert pushed["result"]["fields"] == {"value": 1.5}


# Clients that break the rules


def test_malformed_messages_get_one_error_and_are_cut_off(launch: Launch, loop_factory: Any) -> None:
    daemon = launch(loop=loop_factory)
    wire = daemon.wire()
    wire.socket.sendall(struct.pack("<I", 3) + b"\xc1\xc1\xc1" + struct.pack("<I", 1) + b"\xc0")
    error = wire.receive()
    assert (error["id"], error["error"]["code"]) == (None, "malformed")
    assert wire.closed()
    assert daemon.server.counters.malformed == 1
    assert daemon.wire().ask("version")["ok"] is True
    assert daemon.events.counts["link.malformed"] == 1


def test_oversize_messages_get_one_error_and_are_cut_off(launch: Launch, loop_factory: Any) -> None:
    daemon = launch(loop=loop_factory)
    wire = daemon.wire()
    wire.socket.sendall(struct.pack("<I", 4097))
    assert wire.receive()["error"] == {
        "code": "oversize",
        "message": "found a frame of 4097 bytes, expected at most 4096",
        "reasons": [],
    }
    assert wire.closed()
    assert daemon.wire().ask("version")["ok"] is True


def test_the_longest_request_is_answered(daemon: Any) -> None:
    wire = daemon.wire()
    message = {"id": 1, "op": "disarm", "args": {"pad": ""}}
    message["args"] = {"pad": "x" * (4096 - len(msgpack.packb(message)) - 2)}
    assert len(msgpack.packb(message)) == 4096
    for _ in range(3):
        wire.send(message)
        assert wire.receive()["ok"] is True


def test_garbage_in_any_amount_harms_nobody(daemon: Any) -> None:
    good = daemon.wire()
    noise = np.random.default_rng(1).bytes(200_000)
    for start in range(0, 200_000, 20_000):
        bad = daemon.wire()
        with contextlib.suppress(ConnectionError):
            bad.socket.sendall(noise[start : start + 20_000])
        while bad.receive() is not None:
            pass
        assert good.ask("version")["ok"] is True


def test_a_frame_that_is_never_finished_is_given_up_on(launch: Launch) -> None:
    daemon = launch(limits=Limits(frame_timeout_s=0.3))
    wire, idle = daemon.wire(), daemon.wire()
    body = msgpack.packb({"id": 1, "op": "version"})
    frame = struct.pack("<I", len(body)) + body
    # A whole request first: what it leaves half sent behind it counts too.
    wire.socket.sendall(frame + frame[:5])
    assert wire.receive()["id"] == 1
    assert wire.receive()["error"]["code"] == "half_sent"
    assert wire.closed()
    assert daemon.server.counters.half_sent == 1
    assert idle.ask("version")["ok"] is True


def test_a_flooding_client_is_paused_and_others_are_answered(launch: Launch, loop_factory: Any) -> None:
    daemon = launch(loop=loop_factory, limits=Limits(requests_per_s=20.0, burst=5.0))
    flood, calm = daemon.wire(), daemon.wire()
    body = msgpack.packb({"id": 1, "op": "status"})
    flood.socket.settimeout(0.2)
    sent = 0
    # It reads nothing either; the kernel's buffers fill, and then it can send no more.
    with contextlib.suppress(TimeoutError):
        while sent < 50_000_000:
            sent += flood.socket.send((struct.pack("<I", len(body)) + body) * 1000)
    assert sent < 50_000_000
    begin, answered = daemon.server.counters.requests, 0
    start = time.monotonic()
    for _ in range(5):
        answered += calm.ask("version")["ok"]
    elapsed = time.monotonic() - start
    assert answered == 5
    assert daemon.server.counters.requests - begin <= 5 + 20 * elapsed + 6
    assert daemon.server.counters.throttled > 0


def test_a_client_that_asks_without_reading_waits_and_fills_no_memory(launch: Launch) -> None:
    limits = Limits(requests_per_s=1e6, all_requests_per_s=1e6, write_buffer=10_000, send_buffer=4096)
    daemon = launch(limits=limits)
    wire = daemon.wire()
    body = msgpack.packb({"id": 1, "op": "status"})
    wire.socket.sendall((struct.pack("<I", len(body)) + body) * 600)
    (connection,) = daemon.server._connections
    daemon.until(lambda: connection._transport.get_write_buffer_size() > 10_000)
    threading.Event().wait(0.3)
    assert connection._transport.get_write_buffer_size() < 20_000
    assert daemon.server.counters.requests < 100
    assert all(wire.receive()["ok"] for _ in range(600))


def test_big_requests_cost_more_of_the_budget(launch: Launch) -> None:
    daemon = launch(limits=Limits(requests_per_s=20.0, burst=8.0))
    wire = daemon.wire()
    for number in range(4):
        wire.send({"id": number, "op": "disarm", "args": {"pad": "x" * 3500}})
    for _ in range(4):
        wire.receive()
    assert daemon.server.counters.throttled > 0


def test_all_clients_together_get_no_more_than_the_common_budget(launch: Launch) -> None:
    daemon = launch(limits=Limits(all_requests_per_s=40.0))
    wires = [daemon.wire() for _ in range(4)]
    start = time.monotonic()
    for wire in wires:
        for number in range(8):
            wire.send({"id": number, "op": "version"})
    for wire in wires:
        assert [wire.receive()["id"] for _ in range(8)] == list(range(8))
    # 32 requests, 4 of them at once, the others at 40 per second.
    assert time.monotonic() - start > 0.6


def test_connections_beyond_the_limit_are_told_and_closed(launch: Launch, loop_factory: Any) -> None:
    daemon = launch(loop=loop_factory, limits=Limits(connections=4))
    wires = [daemon.wire() for _ in range(4)]
    extra = daemon.wire()
    assert extra.hello["protocol"] == 1
    assert extra.receive()["error"]["code"] == "too_many_connections"
    assert extra.closed()
    assert all(wire.ask("version")["ok"] for wire in wires)
    wires[0].close()
    daemon.until(lambda: len(daemon.server._connections) < 4)
    assert daemon.wire().ask("version")["ok"] is True


def test_onlookers_never_lock_operators_out(launch: Launch, stranger: Peer) -> None:
    daemon = launch(limits=Limits(connections=4, reserved=2))
    daemon.peer_of = lambda _: stranger
    onlookers = [daemon.wire() for _ in range(3)]
    assert onlookers[2].receive()["error"]["code"] == "too_many_connections"
    daemon.peer_of = lambda _: Peer(1, os.getuid(), os.getgid())
    assert daemon.wire().ask("arm")["ok"] is True


def test_a_crowd_that_connects_again_and_again_is_taken_at_a_bounded_rate(launch: Launch) -> None:
    daemon = launch(limits=Limits(connections=2, connects_per_s=10.0))
    start = time.monotonic()
    for _ in range(10):
        with socket.socket(socket.AF_UNIX) as crowd:
            crowd.settimeout(20)
            crowd.connect(str(daemon.path))
            assert crowd.recv(100)
    # 4 at once, the others at 10 per second.
    assert time.monotonic() - start > 0.5


def test_an_estop_is_done_even_when_its_sender_is_gone(launch: Launch, loop_factory: Any) -> None:
    daemon = launch(loop=loop_factory)
    body = msgpack.packb({"id": 1, "op": "estop"})
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as hasty:
            hasty.connect(str(daemon.path))
            hasty.sendall(struct.pack("<I", len(body)) + body)
    daemon.until(lambda: daemon.done == [("estop", {})] * 20)


def test_closing_the_server_cancels_and_cuts_off(launch: Launch, loop_factory: Any) -> None:
    daemon = launch(loop=loop_factory)
    waiting, stuck = daemon.wire(), daemon.wire()
    waiting.send({"id": 1, "op": "stop"})
    stuck.ask("watch", interval=0.02)
    daemon.until(lambda: daemon.server._tasks)
    daemon.call(daemon.server.close)
    assert waiting.receive()["error"]["code"] == "closing"
    assert waiting.closed()
    assert not daemon.path.exists()
    assert not daemon.server._connections
    daemon.call(daemon.server.close)


def test_a_throttled_request_is_not_done_after_the_server_has_closed(launch: Launch) -> None:
    daemon = launch(limits=Limits(requests_per_s=5.0, burst=1.0))
    wire = daemon.wire()
    for number in range(3):
        wire.send({"id": number, "op": "disarm"})
    daemon.until(lambda: daemon.server.counters.throttled)
    daemon.call(daemon.server.close)
    done = len(daemon.done)
    threading.Event().wait(0.5)
    assert len(daemon.done) == done < 3
