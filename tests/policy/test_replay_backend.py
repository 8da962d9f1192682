"""Recordings that the real recorder made, played again."""

from __future__ import annotations

import asyncio
import gc
import time

import numpy as np
import pytest

from drivers.state import JointState
from runtime.control.seams.seam import Seam
from runtime.events import Events
from runtime.policy.chunk import Chunk
from runtime.policy.errors import PolicyError
from runtime.policy.tasks import Task
from runtime.policy.worker.errors import BackendError, Unavailable, WrongShape
from runtime.policy.worker.replay import ReplayBackend
from runtime.recording.contract import KeepRules
from runtime.recording.recorder import Recorder
from runtime.recording.ring import TraceRing
from runtime.recording.trace import TraceLayout
from runtime.spool.layout import find

CONFIG = "[robot]\nname = 'r'\n[policy]\nrate = 50.0\n"
CHUNKS = np.random.default_rng(0).normal(size=(3, 4, 3))
OBSERVATION = np.zeros(5, np.float32)


async def record(folder, chunks, config=CONFIG):
    """The path of a recording of these chunks, with some ticks."""
    trace, events = TraceRing(TraceLayout(["a"], {}, []), 512), Events()
    recorder = Recorder(trace, events, folder, "r", KeepRules(), {"robot": "r", "config": config})
    recorder.start()
    for number, actions in enumerate(chunks):
        position = np.zeros(1)
        head = (number, time.monotonic_ns(), 0, 0, 3, True, False, 0.1, 0, 0)
        trace.append(head, JointState(1), position, position, np.zeros(1, np.int64), [])
        recorder.add_chunk(
            Chunk(10 * number, actions, 7, number + 1),
            10 * number + 5,
            Seam("policy", "blend", 10 * number + 5, 0.25, 0.0, 0.2),
            Task(),
        )
    while recorder.path is None:
        await asyncio.sleep(0.01)
    await recorder.close()
    path = str(find(recorder.path))
    del trace, events, recorder
    await asyncio.sleep(0)  # the loop still holds what has just ended
    gc.collect()  # the ring's memory: the rig of the worker counts descriptors
    return path


def load(path, **options):
    return ReplayBackend(path, {"threads": 1, "period": 0.02, "horizon": 4, "action_size": 3, **options})


async def test_every_chunk_once_in_order(rig, tmp_path):
    bench = rig(backend="replay", model=await record(tmp_path, CHUNKS))
    await bench.worker.start()
    for chunk in CHUNKS:
        assert (await bench.chunk()).actions == pytest.approx(chunk, abs=1e-6)
    for _ in range(2):
        bench.ask()
        await bench.until(lambda: not bench.worker.busy, "an answer")
    assert len(bench.chunks) == 3
    assert bench.worker.failures == {"unavailable": 2}
    assert bench.worker.ready
    (event,) = [event for event in bench.events.recent if event.name == "policy.unavailable"]
    assert "the recording has ended, all 3 chunks were played" in event.message


async def test_a_chunk_that_was_recorded_in_parts_is_one(tmp_path):
    long = np.random.default_rng(1).normal(size=(2, 1000, 50))
    backend = load(await record(tmp_path, long), horizon=1000, action_size=50)
    backend.infer(OBSERVATION)  # the warm-up
    assert [backend.infer(OBSERVATION).tolist() for _ in long] == long.tolist()
    with pytest.raises(Unavailable):
        backend.infer(OBSERVATION)


async def test_another_horizon_or_robot(rig, tmp_path):
    path = await record(tmp_path, [*CHUNKS[:2], CHUNKS[2][:3]])
    with pytest.raises(WrongShape, match=r"found chunk 2 of shape \[3, 3\], expected \[4, 3\] \(policy\.horizon"):
        load(path)
    with pytest.raises(PolicyError, match=r"found chunk 0 of shape \[4, 3\], expected \[4, 6\]"):
        await rig(backend="replay", model=path, action_size=6).worker.start()


async def test_another_rate(tmp_path):
    path = await record(tmp_path, CHUNKS)
    with pytest.raises(BackendError, match=r"chunks of 50 actions a second, expected policy\.rate \(100 Hz\)"):
        load(path, period=0.01)


async def test_a_recording_without_chunks(tmp_path):
    path = await record(tmp_path, [])
    with pytest.raises(
        BackendError, match="found no action chunk, expected a recording of a robot that its policy"
    ):
        load(path)


async def test_a_file_that_is_no_whole_recording(tmp_path):
    path = await record(tmp_path, CHUNKS)
    with open(path, "rb+") as file:
        file.truncate(2000)
    with pytest.raises(BackendError, match=r"found no whole recording of reflexd .*`mcap recover`"):
        load(path)
    with pytest.raises(BackendError, match=r"no model file at .*none\.mcap"):
        load(str(tmp_path / "none.mcap"))
    with pytest.raises(BackendError, match=r"found no whole recording of reflexd \(KeyError: 'policy'\)"):
        load(await record(tmp_path, CHUNKS, "[robot]\nname = 'r'\n"))
