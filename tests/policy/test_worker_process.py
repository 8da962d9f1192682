"""What the worker inherits, with whom it ends, and what it leaves behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
SPIN, STOP = 5, 4

DAEMON = """
import asyncio, sys, time
from runtime.events import Events
from runtime.policy.client import PolicyWorker
from runtime.policy.spec import WorkerSpec

async def main():
    spec = WorkerSpec(backend="model_zoo:Moody", observation_size=5, horizon=4, action_size=3, period_s=0.02,
                      paths=(sys.argv[1],), timeout_s=1000.0)
    worker = PolicyWorker(spec, Events(), print)
    await worker.start()
    if float(sys.argv[2]):
        worker.observation[0] = float(sys.argv[2])
        worker.request(time.monotonic_ns())
    print(worker.pid, flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


@pytest.mark.parametrize("mood", [0, SPIN, STOP])
def test_the_worker_ends_with_a_daemon_that_is_killed(mood):
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(HERE), str(mood)], stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout is not None
        try:
            worker = os.pidfd_open(int(daemon.stdout.readline()))
        finally:
            daemon.kill()
    try:
        # Readable when the process has ended; as a child of init it may stay a zombie for a while.
        assert select.select([worker], [], [], 20.0)[0], "the worker outlived its daemon"
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(worker, signal.SIGKILL)
        os.close(worker)


async def test_a_real_time_daemon_has_an_ordinary_worker(rig):
    r = rig()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        pytest.skip("this user may not have real-time priority")
    try:
        await r.worker.start()
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    for task in os.listdir(f"/proc/{r.worker.pid}/task"):
        assert os.sched_getscheduler(int(task)) == os.SCHED_OTHER
        assert os.sched_getparam(int(task)).sched_priority == 0


async def test_the_worker_runs_on_its_own_cpus(rig):
    cpu = max(os.sched_getaffinity(0))
    r = rig(cpus=(cpu,))
    await r.worker.start()
    for task in os.listdir(f"/proc/{r.worker.pid}/task"):
        assert os.sched_getaffinity(int(task)) == {cpu}


async def test_out_of_memory_takes_the_worker_first(rig):
    r = rig()
    await r.worker.start()
    assert Path(f"/proc/{r.worker.pid}/oom_score_adj").read_text() == "500\n"


async def test_the_worker_has_no_descriptors_of_the_daemon(rig, tmp_path):
    with (tmp_path / "bus").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        r = rig()
        await r.worker.start()
        links = [os.readlink(entry) for entry in Path(f"/proc/{r.worker.pid}/fd").iterdir()]
    kinds = sorted(link.split(":")[0] for link in links)
    assert kinds == ["/dev/null", "/memfd", "pipe", "pipe", "socket"]


async def test_ctrl_c_in_the_terminal_is_not_for_the_worker(rig):
    r = rig()
    await r.worker.start()
    assert os.getsid(r.worker.pid) == r.worker.pid != os.getsid(0)
    os.kill(r.worker.pid, signal.SIGINT)
    await r.chunk()
    assert not r.worker.failures


async def test_the_latency_is_injected_into_every_inference(rig):
    r = rig(latency_s=0.2)
    await r.worker.start()
    for _ in range(2):
        chunk = await r.chunk()
        assert chunk.latency_ns >= 200_000_000
        assert r.worker.inference.last_ns >= 200_000_000


async def test_the_latency_counts_from_before_the_request_is_sent(rig, monkeypatch):
    """The worker may have begun, and the daemon lost its CPU, before the call that sends returns."""
    r = rig()
    await r.worker.start()
    send = r.worker._process.send

    def slowly(message: bytes) -> None:
        send(message)
        r.offset_ns += 1_000_000_000

    monkeypatch.setattr(r.worker._process, "send", slowly)
    assert (await r.chunk()).latency_ns >= 1_000_000_000


async def test_the_options_reach_the_backend(rig, tmp_path):
    r = rig(backend="model_zoo:Introspective", model=str(tmp_path / "seen"), threads=2)
    await r.worker.start()
    seen = (tmp_path / "seen").read_text().splitlines()
    assert seen[0] == sys.executable
    assert "pydantic" not in seen, "the worker needs numpy and the standard library only"
    assert "runtime.policy.worker.serve" in seen
    assert "runtime.events" not in seen


async def test_closing_twice_and_closing_a_worker_that_never_started(rig):
    r = rig()
    await r.worker.close()
    await r.worker.close()


async def test_a_view_that_outlives_the_worker_can_still_be_written(rig):
    r = rig()
    view = r.worker.observation
    await r.worker.start()
    await r.worker.close()
    view[:] = 1.0
    assert r.worker.observation.dtype == np.float32
    assert r.worker.observation.shape == (5,)
    del view


async def test_closing_does_not_wait_for_a_worker_that_hangs(rig):
    r = rig(timeout_s=1000.0)
    await r.worker.start()
    r.ask(STOP)
    pid = r.worker.pid
    await asyncio.wait_for(r.worker.close(), 20.0)
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 50])
async def test_a_start_that_is_cancelled_leaves_nothing(rig, turns):
    r = rig()
    start = asyncio.create_task(r.worker.start())
    for _ in range(turns):
        await asyncio.sleep(0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start


async def test_closing_in_the_middle_of_a_restart_leaves_nothing(rig):
    r = rig()
    await r.worker.start()
    os.kill(r.worker.pid, signal.SIGKILL)
    await r.until(lambda: r.worker.restarts == 1, "the restart")
    assert not r.worker.ready
    await r.worker.close()
