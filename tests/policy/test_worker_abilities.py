"""What a backend may be able to do besides answering: continue a plan, have a task, be away for a while."""

import dataclasses
import math
import os
import signal

import pytest

from runtime.policy.inline import InlinePolicy
from runtime.policy.worker.wire import Can

SIZE = 3


async def answer(bench, *request):
    """The actions of the next chunk."""
    seen = len(bench.chunks)
    assert bench.worker.request(bench.now(), *request)
    await bench.until(lambda: len(bench.chunks) > seen, "a chunk")
    return bench.chunks[-1].actions


async def test_a_plan_is_continued(rig):
    bench = rig(backend="model_zoo:Able")
    await bench.worker.start()
    assert bench.worker.can == Can.CONTINUE | Can.TASK
    bench.worker.plan[:3] = [[7.0] * SIZE, [8.0] * SIZE, [9.0] * SIZE]
    chunk = await answer(bench, 3, 1)
    assert chunk[:, 0].tolist() == [7.0, 108.0, 109.0, 100.0]
    chunk = await answer(bench)
    assert chunk[:, 0].tolist() == [0.0] * 4, "nobody wanted it continued"


async def test_a_backend_that_can_do_nothing_else_is_not_asked_to(rig):
    bench = rig(backend="model_zoo:Ramp")
    await bench.worker.start()
    assert bench.worker.can == 0
    bench.worker.set_task("anything")
    assert (await answer(bench, 3, 1))[:, 0].tolist() == [0.0, 1.0, 2.0, 3.0]


async def test_a_policy_may_say_how_unsure_it_is(rig):
    bench = rig(backend="model_zoo:Unsure")
    await bench.worker.start()
    for told in (0.25, -1.0, 0.5):
        bench.worker.observation[0] = told
        await answer(bench)
    found = [chunk.uncertainty for chunk in bench.chunks]
    assert found == [0.25, pytest.approx(math.nan, nan_ok=True), 0.5]
    policy = InlinePolicy(bench.worker._spec, bench.events, bench.chunks.append)
    await policy.start()
    policy.observation[0] = 0.75
    assert policy.request(0)
    assert bench.chunks[-1].uncertainty == 0.75
    await policy.close()


async def test_a_task_is_set_before_the_start_and_later_and_outlives_the_worker(rig):
    bench = rig(backend="model_zoo:Able")
    bench.worker.set_task("four")
    await bench.worker.start()
    assert (await answer(bench))[0, 0] == 4
    bench.worker.set_task("sevenths")
    assert (await answer(bench))[0, 0] == 8
    os.kill(bench.worker.pid, signal.SIGKILL)
    await bench.until(lambda: bench.worker.ready and bench.worker.restarts, "a restart")
    assert (await answer(bench))[0, 0] == 8


async def test_a_chunk_under_way_is_one_for_the_old_task(rig):
    bench = rig(backend="model_zoo:Able", latency_s=0.3)
    bench.worker.set_task("four")
    await bench.worker.start()
    assert bench.worker.request(bench.now())
    for number in range(2000):  # more than a socket holds
        bench.worker.set_task("x" * number)
    await bench.until(lambda: bench.chunks, "a chunk")
    assert bench.chunks[-1].actions[0, 0] == 4
    assert (await answer(bench))[0, 0] == 1999


async def test_a_task_that_the_backend_refuses_is_left_by_choosing_another(rig):
    bench = rig(backend="model_zoo:Picky")
    await bench.worker.start()
    bench.worker.set_task("fly")
    bench.worker.request(bench.now())  # False where the task has ended the worker before the request follows
    await bench.failure("crashed")
    refusal = await bench.failure("error")
    assert "I cannot fly" in refusal.message
    assert not bench.worker.ready
    bench.worker.set_task("four")
    await bench.until(lambda: bench.worker.ready, "a worker with another task")
    assert (await answer(bench))[0, 0] == 4


async def test_a_backend_that_is_away_costs_one_chunk_and_no_worker(rig):
    bench = rig(backend="model_zoo:Able")
    await bench.worker.start()
    pid = bench.worker.pid
    for _ in range(2):
        bench.worker.observation[0] = -1
        assert bench.worker.request(bench.now())
        await bench.until(lambda: not bench.worker.busy, "an answer")
    assert bench.worker.away
    bench.worker.observation[0] = 0
    await answer(bench)
    assert not bench.worker.away
    assert bench.worker.failures == {"unavailable": 2}
    assert bench.worker.pid == pid
    assert bench.events.counts["policy.unavailable"] == bench.events.counts["policy.available"] == 1


async def test_a_backend_that_is_away_at_the_start_is_waited_for(rig):
    bench = rig(backend="model_zoo:Able", options={"away": 1})
    await bench.worker.start()
    assert not bench.worker.ready
    assert not bench.worker.request(bench.now())
    bench.worker.set_task("late")
    await bench.until(lambda: bench.worker.ready, "the backend")
    assert (await answer(bench))[0, 0] == 4


async def test_inside_the_tick_there_is_a_task_as_well(rig, zoo):
    bench = rig(backend="model_zoo:Able")
    policy = InlinePolicy(bench.worker._spec, bench.events, bench.chunks.append)
    await policy.start()
    policy.set_task("three")
    assert policy.request(0)
    assert bench.chunks[-1].actions[0, 0] == 5


async def test_a_worker_that_hangs_while_its_backend_is_away_is_replaced(rig):
    bench = rig(backend="model_zoo:Able", options={"away": 2})
    await bench.worker.start()
    pid, patient = bench.worker.pid, bench.worker._spec
    bench.worker._spec = dataclasses.replace(patient, load_timeout_s=0.5)
    await bench.until(lambda: bench.worker.failures["unavailable"] == 2, "the second try")
    os.kill(pid, signal.SIGSTOP)
    event = await bench.failure("hung")
    assert event.fields["cause"] == "it was not heard of for 0.5 s after its last try"
    bench.worker._spec = patient
    await bench.until(lambda: bench.worker.ready, "the next worker")
    assert bench.worker.pid != pid
    assert bench.worker.failures == {"unavailable": 4, "hung": 1}
