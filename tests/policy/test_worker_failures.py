"""Whatever the model does, the daemon learns why, the worker comes back, and the run goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time

import numpy as np
import pytest

from runtime.policy.errors import PolicyError
from tests.policy.conftest import CURVE

WELL, EXIT, KILL, SEGFAULT, STOP, SPIN, NAN, INFINITE, SHAPE, RAISE, SLOW, FORGE, GARBAGE, SHOUT, LEAVE = range(15)


async def test_a_chunk_answers_its_observation(rig):
    r = rig()
    await r.worker.start()
    assert r.worker.ready
    assert not r.worker.busy
    r.worker.observation[:] = [0.0, 1.0, 2.0, 3.0, 4.0]
    t0_ns = r.now()
    assert r.worker.request(t0_ns)
    assert r.worker.busy
    assert not r.worker.request(t0_ns), "one request at a time"
    await r.until(lambda: r.chunks, "a chunk")
    (chunk,) = r.chunks
    assert chunk.actions.dtype == np.float64
    assert chunk.actions.tolist() == [[10.0] * 3, [11.0] * 3, [12.0] * 3, [13.0] * 3]
    assert chunk.curve is not None
    assert chunk.curve.tolist() == CURVE.through(chunk.actions).tolist()
    assert chunk.curve[:, :, 0].tolist() == [[21, 2, 0, 0], [23, 2, 0, 0], [25, 2, 0, 0], [27, 0, 0, 0]]
    assert chunk.curve[1, :, 2:].tolist() == [[0, 11], [0, 0], [0, 0], [0, 0]], "nobody moves, and held"
    assert (chunk.t0_ns, chunk.sequence) == (t0_ns, 1)
    assert 0 < chunk.latency_ns == r.worker.latency.last_ns
    assert r.worker.inference.count == 1
    assert not r.worker.busy
    second = await r.chunk()
    assert second.sequence == 2
    assert chunk.curve[0, 0, 3] == chunk.actions[0, 0] == 10.0, "a chunk must not change when the next one arrives"
    assert not r.worker.failures


@pytest.mark.parametrize(
    ("mood", "failure", "cause"),
    [
        (EXIT, "crashed", "exit code 7"),
        (KILL, "crashed", "signal 9 (SIGKILL)"),
        (SEGFAULT, "crashed", "signal 11 (SIGSEGV)"),
        (NAN, "nan", "1 of 12 values, the first in action 1"),
        (INFINITE, "nan", "12 of 12 values, the first in action 0"),
        (SHAPE, "wrong_shape", "found output of shape [4, 4], expected [4, 3]"),
        (RAISE, "error", "ValueError: the gripper is upset (model_zoo.py:"),
        (FORGE, "stale", "answered request 99, expected 2"),
        (GARBAGE, "error", "expected 1 or 2"),
    ],
)
async def test_a_failure_is_told_and_the_run_goes_on(rig, mood, failure, cause):
    r = rig()
    await r.worker.start()
    await r.chunk()
    pid = r.worker.pid
    r.ask(mood)
    event = await r.failure(failure)
    assert cause in event.fields["cause"]
    assert cause in event.message
    assert event.level == "error"
    assert not r.worker.ready
    assert not r.worker.busy
    assert not r.worker.request(r.now())
    chunk = await r.recovery()
    assert chunk.actions.tolist() == [[0.0] * 3, [1.0] * 3, [2.0] * 3, [3.0] * 3]
    assert r.worker.failures == {failure: 1}
    assert r.worker.restarts == 1
    assert r.worker.pid != pid
    assert not os.path.exists(f"/proc/{pid}")
    assert len(r.chunks) == 2, "nothing of the failed inference may get through"


@pytest.mark.parametrize("mood", [STOP, SPIN])
async def test_a_worker_that_hangs_is_replaced(rig, mood):
    r = rig(timeout_s=0.3)
    await r.worker.start()
    pid = r.worker.pid
    r.ask(mood)
    event = await r.failure("hung")
    assert event.fields["cause"] == "no answer 0.3 s after the request"
    await r.recovery()
    assert r.worker.failures == {"hung": 1}
    assert not os.path.exists(f"/proc/{pid}")


async def test_a_worker_killed_while_idle_is_replaced(rig):
    r = rig()
    await r.worker.start()
    os.kill(r.worker.pid, signal.SIGKILL)
    await r.failure("crashed")
    await r.recovery()


async def test_a_worker_that_closes_its_socket_but_stays_is_ended(rig):
    r = rig()
    await r.worker.start()
    r.ask(LEAVE)
    event = await r.failure("crashed")
    assert "SIGKILL" in event.fields["cause"]
    await r.recovery()


async def test_the_last_words_come_with_the_event(rig):
    r = rig()
    await r.worker.start()
    r.ask(SEGFAULT)
    event = await r.failure("crashed")
    assert "Segmentation fault" in event.fields["last_words"]
    assert "model_zoo.py" in event.fields["last_words"]


async def test_a_flood_on_stderr_harms_nobody(rig):
    r = rig()
    await r.worker.start()
    await r.chunk(SHOUT)
    assert not r.worker.failures
    assert len(r.worker._process._tail) <= 8192
    r.ask(EXIT)
    event = await r.failure("crashed")
    last_words = event.fields["last_words"].splitlines()
    assert last_words[-1] == "the last line"
    assert "warning 19999" in last_words[-2]


async def test_an_inference_longer_than_the_age_limit_is_stale(rig):
    r = rig(max_age_s=0.1)
    await r.worker.start()
    r.ask(SLOW)
    event = await r.failure("stale")
    assert "after its observation, allowed are 0.1 s" in event.fields["cause"]
    assert not r.chunks
    await r.recovery()
    assert r.worker.restarts == 1


async def test_a_chunk_that_the_loop_takes_late_is_dropped_without_a_restart(rig):
    r = rig(max_age_s=5.0)
    await r.worker.start()
    r.ask()
    r.offset_ns = 10_000_000_000
    event = await r.failure("stale")
    assert event.level == "warning"
    assert not r.chunks
    assert r.worker.ready
    r.offset_ns = 0
    await r.chunk()
    assert r.worker.failures == {"stale": 1}
    assert r.worker.restarts == 0


async def test_a_loop_that_was_held_up_does_not_take_its_worker_for_hung(rig):
    r = rig(timeout_s=0.1)
    await r.worker.start()
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()

    def hold_up():
        near.recv(1)
        r.ask()
        time.sleep(0.5)

    # Held up by the callback of a descriptor, as by a tick, it looks at its timers before the reply.
    with near, far:
        loop.add_reader(near.fileno(), hold_up)
        far.send(b"x")
        await r.until(lambda: r.chunks, "a chunk")
        loop.remove_reader(near.fileno())
    assert not r.worker.failures


async def test_a_reply_waits_for_its_moment_between_two_ticks(rig):
    r = rig()
    await r.worker.start()
    r.later = []
    r.ask()
    await r.until(lambda: r.later, "the reply")
    assert r.worker.busy, "its chunk is not read yet: no other one may take its place"
    assert not r.chunks
    for work in r.later:
        work()
    assert len(r.chunks) == 1
    assert not r.worker.busy


async def test_a_reply_that_still_waits_is_no_hang(rig):
    r = rig(timeout_s=0.1)
    await r.worker.start()
    r.later = []
    r.ask()
    await r.until(lambda: r.later, "the reply")
    await r.until(lambda: r.chunks, "the reply, read when it was missed")
    for work in r.later:
        work()
    assert len(r.chunks) == 1, "read once"
    assert not r.worker.failures


async def test_restarts_back_off(rig):
    r = rig()
    await r.worker.start()
    for _ in range(4):
        await r.until(lambda: r.worker.ready, "the restart")
        r.ask(EXIT)
        await r.until(lambda: not r.worker.ready, "the crash")
    waits = [event.fields["restart_in_s"] for event in r.events.recent if event.name == "policy.crashed"]
    assert waits == [0.2, 0.4, 0.8, 1.6]
    # Ten seconds of health, by the injected clock, and it begins anew.
    await r.recovery()
    r.offset_ns += 10_000_000_000
    r.ask(EXIT)
    await r.until(lambda: r.worker.failures["crashed"] == 5, "the crash")
    assert r.events.recent[-1].fields["restart_in_s"] == 0.2


async def test_a_restart_that_fails_is_tried_again(rig, tmp_path):
    flag = tmp_path / "sick"
    r = rig(backend="model_zoo:Sick", options={"how": "raise", "once": str(flag)})
    await r.worker.start()
    flag.touch()
    r.ask(EXIT)
    event = await r.failure("error")
    assert event.fields["cause"].startswith(
        "the policy worker cannot start: LookupError: no such checkpoint (model_zoo.py:"
    )
    await r.until(lambda: r.worker.failures["error"] >= 2, "the second attempt")
    flag.unlink()
    await r.recovery()
    assert r.worker.failures["crashed"] == 1


async def test_a_worker_that_fails_during_the_close_is_no_failure(rig):
    r = rig()
    await r.worker.start()
    r.ask(EXIT)
    await r.worker.close()
    await asyncio.sleep(0)
    assert not r.worker.failures
    assert not r.worker.request(r.now())


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            {"backend": "model_zoo:Sick", "options": {"how": "raise"}},
            "LookupError: no such checkpoint (model_zoo.py:",
        ),
        ({"backend": "model_zoo:Sick", "options": {"how": "exit"}}, "exit code 3; out of cookies"),
        (
            {"backend": "model_zoo:Sick", "options": {"how": "sleep"}, "load_timeout_s": 1.0},
            "not ready 1 s after its start",
        ),
        ({"backend": "model_zoo:Wide"}, "found output of shape [4, 7], expected [4, 3]"),
        ({"backend": "model_zoo:Words"}, "found output of type <U7, expected numbers"),
        ({"backend": "model_zoo:NotAPolicy"}, "found no method `infer` on NotAPolicy"),
        ({"backend": "model_zoo:Absent"}, "module model_zoo has no 'Absent'"),
        ({"backend": "absent_zoo:Model"}, "no module 'absent_zoo'"),
        ({"backend": "absent"}, "backend 'absent' is unknown"),
        ({"model": "/no/such.onnx", "backend": "onnx"}, "no model file at '/no/such.onnx'"),
        ({"python": "/no/such/python"}, "No such file or directory: '/no/such/python'; policy.python must name"),
        ({"python": "/bin/false"}, "ended with exit code 1"),
        ({"cpus": (4095,)}, "policy.cpus: found [4095], expected some of [0"),
    ],
)
async def test_a_first_start_that_fails_says_why(rig, overrides, words):
    r = rig(**overrides)
    with pytest.raises(PolicyError, match="cannot start") as caught:
        await r.worker.start()
    assert words in str(caught.value)
    assert not r.worker.ready
    assert r.worker.pid is None
