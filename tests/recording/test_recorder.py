from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from drivers.state import JointState
from runtime.config.quality import Quality
from runtime.control.seams.seam import Seam
from runtime.events import Events
from runtime.policy.chunk import Chunk
from runtime.policy.tasks import Task
from runtime.recording.contract import KeepRules
from runtime.recording.episode import Episode
from runtime.recording.keeping import is_over
from runtime.recording.recorder import Recorder
from runtime.recording.ring import TraceRing
from runtime.recording.trace import TraceLayout
from runtime.spool.recover import recover

SEAM = Seam("policy", "blend", 12, 0.25, 0.125, 0.2)
RULES = KeepRules()
RNG = np.random.default_rng(0)


def make_trace(capacity: int = 512) -> TraceRing:
    return TraceRing(TraceLayout(["a", "B"], {"imu": {"gyro": 3}}, ["vx"]), capacity)


def write_ticks(trace: TraceRing, first: int, count: int) -> None:
    for number in range(first, first + count):
        state = JointState(2)
        state.position[:] = [number / 10, -number / 10]
        state.torque[:] = RNG.random(2)
        plan = RNG.random(2)
        tail = [np.array([1.0, 2.0, 3.0]), np.array([0.5])]
        head = (number, time.monotonic_ns(), 0, 0, 2, True, False, 0.0, 0, 0, 0)
        trace.append(head, state, plan, plan, np.array([0, 4]), tail)


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def taken(trace: TraceRing) -> int:
    return trace._header[1]


def sealed(path: Path | None) -> Path:
    """Where a file that was being written is now that it is whole."""
    assert path is not None
    (found,) = path.parent.parent.glob(f"ready/*/{path.name}")
    return found


def read_ticks(path: Path) -> list[int]:
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        return [message[3].tick for message in reader.iter_decoded_messages(topics=["/ticks"])]


@pytest.fixture
def parts(tmp_path: Path) -> tuple[TraceRing, Events, Recorder]:
    trace, events = make_trace(), Events()
    return (
        trace,
        events,
        Recorder(trace, events, tmp_path / "new", "r", RULES, {"robot": "r", "config": "[robot]"}),
    )


async def test_everything_is_readable_with_the_standard_decoders(
    parts: tuple[TraceRing, Events, Recorder],
) -> None:
    trace, events, recorder = parts
    recorder.start()
    write_ticks(trace, 0, 300)
    events.emit("robot.armed", "armed", answer=42)
    recorder.add_chunk(Chunk(5, np.array([[1.0, 2.0]]), 7, 1), 12, SEAM, Task("pick", 3.0, "pick the cube"))
    await until(lambda: recorder.path is not None)
    await recorder.close()
    path = sealed(recorder.path)
    assert path.parent.name == "bulk"
    assert recorder.file_bytes == path.stat().st_size
    with path.open("rb") as file:
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
        assert (chunk["by"], chunk["seam"], chunk["seam_mono_ns"]) == ("policy", "blend", 12)
        assert (chunk["seam_before_rad"], chunk["seam_after_rad"], chunk["seam_fade_s"]) == (0.25, 0.125, 0.2)
        assert (chunk["task"], chunk["task_id"], chunk["prompt"]) == ("pick", 3.0, "pick the cube")
        message = logs["/ticks"]
        assert abs(message.log_time - time.time_ns()) < 60e9, "log times are wall times"
        assert abs(message.publish_time - time.monotonic_ns()) < 60e9, "publish times are monotonic"
        meta = next(iter(reader.iter_metadata()))
        assert (meta.name, meta.metadata["robot"]) == ("reflexd", "r")


async def test_a_chunk_too_long_for_a_message_comes_in_parts(parts: tuple[TraceRing, Events, Recorder]) -> None:
    _, _, recorder = parts
    actions = RNG.random((1000, 50))
    recorder.start()
    recorder.add_chunk(Chunk(5, actions, 7, 1), 12, SEAM, Task())
    await until(lambda: recorder.path is not None)
    await recorder.close()
    with sealed(recorder.path).open("rb") as file:
        found = [json.loads(message.data) for _, _, message in make_reader(file).iter_messages(topics=["/chunks"])]
    assert len(found) > 1
    assert (found[0]["task"], found[0]["prompt"], "task_id" in found[0]) == ("", "", False)
    assert [part["first"] for part in found[:2]] == [0, len(found[0]["actions"])]
    assert np.array_equal(np.concatenate([part["actions"] for part in found]), actions)


async def test_a_long_run_is_cut_into_files(tmp_path: Path) -> None:
    recorder = Recorder(make_trace(), Events(), tmp_path, "r", KeepRules(segment_s=0.1), {})
    recorder.start()
    await until(lambda: len(list(tmp_path.glob("*/*/r-*.mcap"))) >= 3)
    await recorder.close()


async def test_what_came_after_a_stop_stays_in_its_file(tmp_path: Path) -> None:
    events = Events()
    recorder = Recorder(make_trace(), events, tmp_path, "r", KeepRules(segment_s=0.1), {})
    recorder.start()
    await until(lambda: recorder.path is not None)
    events.emit("safety.stop", "somebody is near", "error")
    await until(lambda: not recorder._waiting)
    files = len(list(tmp_path.glob("**/r-*.mcap")))
    await asyncio.sleep(1.0)
    assert len(list(tmp_path.glob("**/r-*.mcap"))) <= files + 1, "one may have begun before the event was read"
    await recorder.close()
    assert len(list(tmp_path.glob("ready/safety/*"))) == 1


@pytest.mark.parametrize(
    ("stopped_s", "now_s", "over"),
    [
        (-math.inf, 99.9, False),
        (-math.inf, 100.0, True),
        (95.0, 104.9, False),
        (95.0, 105.0, True),
        (50.0, 100.0, True),
        (159.0, 159.9, False),
        (159.0, 160.0, True),
    ],
)
def test_a_file_ends_in_time_but_not_soon_after_a_stop(stopped_s: float, now_s: float, over: bool) -> None:
    assert is_over(100.0, stopped_s, now_s) is over


async def test_what_the_ring_takes_for_written_is_on_the_disk_as_whole_chunks(
    parts: tuple[TraceRing, Events, Recorder], tmp_path: Path
) -> None:
    trace, _, recorder = parts
    recorder.start()
    for start in range(0, 2000, 200):
        write_ticks(trace, start, 200)
        await until(lambda count=start + 200: taken(trace) == count)  # type: ignore[misc]
        assert recorder.path is not None
        cut = tmp_path / "cut.mcap"
        shutil.copy(recorder.path, cut)
        with cut.open("r+b") as file:
            assert recover(file).cut == 0
        assert read_ticks(cut) == list(range(start + 200))
    await recorder.close()


async def test_a_disk_that_fails_is_told_and_recording_goes_on_when_it_is_back(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("in the way")
    trace, events = make_trace(), Events()
    recorder = Recorder(trace, events, in_the_way, "r", RULES, {})
    recorder.start()
    await until(lambda: recorder.failed)
    assert "control goes on" in events.recent[-1].message
    assert str(in_the_way) in events.recent[-1].message
    write_ticks(trace, 0, 10)
    in_the_way.unlink()
    await until(lambda: recorder.path is not None)
    assert recorder.failed == ""
    await recorder.close()
    assert read_ticks(sealed(recorder.path)) == list(range(10))


async def test_a_recorder_that_is_killed_is_replaced_and_loses_no_tick(
    parts: tuple[TraceRing, Events, Recorder],
) -> None:
    trace, events, recorder = parts
    recorder.start()
    await until(lambda: recorder.path is not None)
    first = recorder.path
    assert recorder.pid is not None
    os.kill(recorder.pid, signal.SIGKILL)
    await until(lambda: events.counts["recording.failed"] == 1)
    write_ticks(trace, 0, 100)
    await until(lambda: recorder.path != first)
    await recorder.close()
    assert read_ticks(sealed(recorder.path)) == list(range(100))


async def test_an_end_that_a_dead_recorder_has_not_written_is_told_once(
    parts: tuple[TraceRing, Events, Recorder],
) -> None:
    _, events, recorder = parts
    told: list[str] = []
    events.listen(lambda event: told.append(event.message))
    recorder.start()
    await until(lambda: recorder.path is not None)
    assert recorder.pid is not None
    os.kill(recorder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, recorder.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - the loop must not hear of it
    await recorder.close()
    (failure,) = [message for message in told if message.startswith("nothing is recorded")]
    assert "killed by signal 9 (SIGKILL); the end is missing" in failure


def about(path: Path) -> dict[str, str]:
    """The episode's metadata record that counts."""
    with path.open("rb") as file:
        found = [record.metadata for record in make_reader(file).iter_metadata() if record.name == "episode"]
    return found[-1] if found else {}


def say(recorder: Recorder, action: str, episode: Episode) -> None:
    recorder.add_episode(action, episode, (time.monotonic_ns(), time.time_ns()), "", "alice")


def end(recorder: Recorder, episode: Episode) -> None:
    episode.outcome, episode.ended_mono_ns = "success", time.monotonic_ns()
    say(recorder, "success", episode)


async def test_ticks_before_within_and_after_an_episode_are_in_files_of_their_own(tmp_path: Path) -> None:
    trace, events = make_trace(), Events()
    quality = Quality(tick_gap_max=60.0, reading_age_max=1e9)
    recorder = Recorder(trace, events, tmp_path, "r", RULES, {}, quality=quality)
    recorder.start()
    write_ticks(trace, 0, 100)
    episode = Episode("e-1", 1, "pick", "", time.monotonic_ns(), time.time_ns())
    say(recorder, "start", episode)
    recorder.describe({"model_sha256": "abc"})
    write_ticks(trace, 100, 100)
    end(recorder, episode)
    write_ticks(trace, 200, 100)
    await until(lambda: events.counts["episode.verdict"])
    await recorder.close()
    paths = sorted(tmp_path.glob("ready/*/*"), key=read_ticks)
    assert [read_ticks(path) for path in paths] == [[*range(n, n + 100)] for n in (0, 100, 200)]
    assert [about(path).get("verdict") for path in paths] == [None, "good", None]
    assert recorder.file_bytes == sum(path.stat().st_size for path in paths)
    with paths[2].open("rb") as file:
        assert next(iter(make_reader(file).iter_metadata())).metadata["model_sha256"] == "abc"


async def test_a_ring_that_nothing_has_triggered_is_gone_at_the_end(tmp_path: Path) -> None:
    trace = make_trace()
    recorder = Recorder(trace, Events(), tmp_path, "r", KeepRules("ring"), {}, sync_s=0.1)
    recorder.start()
    write_ticks(trace, 0, 100)
    await until(lambda: taken(trace) == 100)
    assert list(tmp_path.glob("open/*"))
    await recorder.close()
    assert not list(tmp_path.rglob("*.mcap"))


async def test_an_episode_outlives_its_recorder_and_is_bad_then(tmp_path: Path) -> None:
    trace, events = make_trace(), Events()
    recorder = Recorder(trace, events, tmp_path, "r", RULES, {}, sync_s=0.1)
    recorder.start()
    try:
        episode = Episode("e-1", 1, "pick", "", time.monotonic_ns(), time.time_ns())
        say(recorder, "start", episode)
        await until(lambda: recorder._part == 1)
        write_ticks(trace, 0, 100)
        await until(lambda: taken(trace) == 100)
        first, pid = recorder.path, recorder.pid
        assert first is not None
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await until(lambda: recorder.path != first)
        write_ticks(trace, 100, 100)
        end(recorder, episode)
        await until(lambda: events.counts["episode.verdict"])
    finally:
        await recorder.close()
    (second,) = tmp_path.glob("ready/rejected/*")
    assert read_ticks(second) == list(range(100, 200))
    assert "its recording was interrupted" in about(second)["reasons"]
    assert (about(second)["id"], about(second)["part"], about(second)["outcome"]) == ("e-1", "2", "success")
    with first.open("r+b") as file:
        assert recover(file).kind == "failure", "the spool takes it in as cut off"
    assert read_ticks(first) == list(range(100))


DAEMON = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.recording.test_recorder import make_trace, write_ticks
from runtime.control.seams.seam import Seam
from runtime.events import Events
from runtime.recording.contract import KeepRules
from runtime.recording.recorder import Recorder

async def main():
    trace = make_trace()
    recorder = Recorder(trace, Events(), Path(sys.argv[1]), "r", KeepRules(sys.argv[2]), {})
    recorder.start()
    while recorder.path is None:
        await asyncio.sleep(0.01)
    write_ticks(trace, 0, 300)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGABRT):  # as a service manager does to the whole group
        os.kill(recorder.pid, number)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(asyncio.wait_for(main(), 20))
"""


@pytest.mark.parametrize(("mode", "kind"), [("always", "bulk"), ("ring", "failure")])
async def test_what_a_killed_daemon_has_left_is_written_and_the_file_closed(
    tmp_path: Path, mode: str, kind: str
) -> None:
    daemon = await asyncio.create_subprocess_exec(sys.executable, "-c", DAEMON, str(tmp_path), mode)
    assert await daemon.wait() == -signal.SIGKILL
    await until(lambda: list(tmp_path.glob(f"ready/{kind}/*")))
    (path,) = tmp_path.glob("ready/*/*")
    assert read_ticks(path) == list(range(300))
