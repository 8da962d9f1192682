from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader, make_reader
from mcap_ros2.decoder import DecoderFactory

from drivers.state import JointState
from runtime.events import Events
from runtime.policy.chunk import Chunk
from runtime.recording.recorder import Recorder
from runtime.recording.trace import TraceRing

RNG = np.random.default_rng(0)


def write_ticks(trace: TraceRing, first: int, count: int) -> None:
    for number in range(first, first + count):
        state = JointState(2)
        state.position[:] = [number / 10, -number / 10]
        state.torque[:] = RNG.random(2)
        plan = RNG.random(2)
        tail = [np.array([1.0, 2.0, 3.0]), np.array([0.5])]
        head = (number, time.monotonic_ns(), 0, 0, 2, True, False, 0.0)
        trace.append(head, state, plan, plan, np.array([0, 4]), tail)


def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def parts(tmp_path: Path) -> tuple[TraceRing, Events, Recorder]:
    trace = TraceRing(["a", "B"], {"imu": {"gyro": 3}}, ["vx"], 512)
    events = Events()
    recorder = Recorder(trace, events, tmp_path / "new", "r", 60.0, {"robot": "r", "config": "[robot]"})
    return trace, events, recorder


def test_everything_is_readable_with_the_standard_decoders(parts: tuple[TraceRing, Events, Recorder]) -> None:
    trace, events, recorder = parts
    recorder.start(lambda work: work())
    write_ticks(trace, 0, 300)
    events.emit("robot.armed", "armed", answer=42)
    recorder.add_chunk(Chunk(5, np.array([[1.0, 2.0]]), 7, 1), 12, 0.25)
    recorder.close()
    assert recorder.path is not None
    assert recorder.bytes == recorder.path.stat().st_size or recorder.bytes > 0
    with recorder.path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        ticks = [m[3] for m in reader.iter_decoded_messages(topics=["/ticks"])]
        assert [t.tick for t in ticks] == list(range(300))
        assert ticks[7].a.position == pytest.approx(0.7)
        assert ticks[7].b.position == pytest.approx(-0.7)
        assert ticks[7].b.limits == 4
        assert list(ticks[7].imu_gyro) == [1, 2, 3]
        assert ticks[7].command_vx == 0.5
        logs = {channel.topic: message for _, channel, message in reader.iter_messages()}
        event = json.loads(logs["/events"].data)
        assert (event["name"], event["fields"], event["level"]) == ("robot.armed", {"answer": 42}, 2)
        chunk = json.loads(logs["/chunks"].data)
        assert chunk["actions"] == [[1.0, 2.0]]
        assert chunk["seam_step_rad"] == 0.25
        message = logs["/ticks"]
        assert abs(message.log_time - time.time_ns()) < 60e9, "log times are wall times"
        assert abs(message.publish_time - time.monotonic_ns()) < 60e9, "publish times are monotonic"
        meta = next(iter(reader.iter_metadata()))
        assert (meta.name, meta.metadata["robot"]) == ("reflexd", "r")


def test_a_long_run_is_cut_into_files(tmp_path: Path) -> None:
    trace = TraceRing(["a"], {}, [], 64)
    recorder = Recorder(trace, Events(), tmp_path, "r", 0.1, {})
    recorder.start(lambda work: work())
    until(lambda: len(list(tmp_path.glob("r-*.mcap"))) >= 3)
    recorder.close()


def test_a_file_cut_off_in_the_middle_is_readable_up_to_there(
    parts: tuple[TraceRing, Events, Recorder], tmp_path: Path
) -> None:
    trace, _, recorder = parts
    recorder.start(lambda work: work())
    for start in range(0, 8000, 200):
        write_ticks(trace, start, 200)
        until(lambda: not trace._ring)
    recorder.close()
    assert recorder.path is not None
    cut = tmp_path / "cut.mcap"
    data = recorder.path.read_bytes()
    cut.write_bytes(data[: len(data) * 2 // 3])
    ticks: list[Any] = []
    with cut.open("rb") as file, pytest.raises((McapError, struct.error)):
        ticks.extend(NonSeekingReader(file).iter_messages(log_time_order=False))
    assert len(ticks) > 500


def test_a_disk_that_fails_stops_the_recording_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    trace, events = TraceRing(["a"], {}, [], 64), Events()
    recorder = Recorder(trace, events, tmp_path / "file", "r", 60.0, {})
    recorder.start(lambda work: work())
    until(lambda: recorder.failed)
    assert events.counts["recording.failed"] == 1
    assert "control goes on" in events.recent[-1].message
    recorder.close()
