from __future__ import annotations

import threading

from safety.beat import Beat, Heartbeat, LoopState
from safety.gate import Gate


def test_the_gate_needs_a_permission_for_every_opening() -> None:
    gate = Gate()
    assert gate.reason == "never opened"
    assert not gate.open()
    gate.permit()
    assert not gate.is_open
    assert gate.open()
    assert gate.is_open
    gate.close("done")
    assert not gate.open()
    assert not gate.is_open


def test_a_close_between_permission_and_opening_wins() -> None:
    gate = Gate()
    gate.permit()
    gate.close("e-stop")
    assert not gate.open()
    assert not gate.is_open
    assert gate.reason == "e-stop"


def test_the_first_reason_and_its_time_are_kept() -> None:
    now = 5
    gate = Gate(lambda: now)
    gate.permit()
    assert gate.open()
    now = 7
    gate.close("e-stop")
    now = 9
    gate.close("disarmed")
    assert (gate.reason, gate.closed_ns) == ("e-stop", 7)
    gate.permit()
    now = 11
    gate.close("changed our minds")
    assert (gate.reason, gate.closed_ns) == ("changed our minds", 11)


def test_a_closed_gate_stays_closed_whatever_other_threads_do() -> None:
    gate = Gate()
    done = threading.Event()

    def opener() -> None:
        while not done.is_set():
            gate.open()

    threads = [threading.Thread(target=opener) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(2000):
            gate.permit()
            gate.close("stop")
            assert not gate.is_open
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not gate.is_open


def test_beats_are_expected_from_the_first_to_the_last() -> None:
    heartbeat = Heartbeat()
    assert heartbeat.last is None
    heartbeat.beat(3, 1000, LoopState.ENERGISED | LoopState.FAULT)
    assert heartbeat.last == Beat(3, 1000, 3, 0)
    heartbeat.beat(4, 2000, True)
    assert heartbeat.last == Beat(4, 2000, LoopState.ENERGISED, 1000)
    heartbeat.finish()
    assert heartbeat.last is None


def test_the_longest_silence_is_kept_until_the_supervisor_has_seen_it() -> None:
    heartbeat = Heartbeat()
    silences = []
    for now_ns in (1000, 1500, 9500, 10000):
        heartbeat.beat(0, now_ns, 0)
        assert heartbeat.last is not None
        silences.append(heartbeat.last.silence_ns)
    assert silences == [0, 500, 8000, 8000]
    heartbeat.seen = heartbeat.last
    heartbeat.beat(0, 10400, 0)
    assert heartbeat.last.silence_ns == 400
