"""A camera's frames on their way into files, through the real processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from runtime.config.quality import Quality
from runtime.config.video import Video
from runtime.events import Events
from runtime.policy.worker.frames import FrameLayout, FrameReader, FrameWriter, create
from runtime.recording.contract import KeepRules
from runtime.recording.episode import Episode
from runtime.recording.recorder import Recorder
from runtime.recording.video import stream
from runtime.recording.video.encoders import nal_types
from runtime.recording.video.packets import PacketRing
from runtime.recording.video.stream import VideoStream, picture_of
from tests.recording.test_recorder import make_trace, until

LAYOUT = FrameLayout(width=64, height=48)
RATE = 50.0
QUALITY = Quality(sharpness_min=0.0, frozen_max=0.5)


@dataclass
class Rig:
    """A camera that shows its frames' numbers as grey, its encoder and the recorder."""

    folder: Path
    stream: VideoStream
    recorder: Recorder
    events: Events
    times: list[int] = field(default_factory=list)
    frozen: bool = False

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("ready/*/*.mcap"), key=lambda path: path.stat().st_mtime_ns)


class Source(SimpleNamespace):
    """What the daemon's side of a camera tells of its frames."""

    @property
    def frames(self) -> int:
        return FrameReader(self.descriptor).newest()[0]


def source(memory: int) -> Any:
    return Source(name="wrist", layout=LAYOUT, descriptor=memory, options=SimpleNamespace(rate=RATE))


async def show(camera: FrameWriter, rig: Rig) -> None:
    while True:
        grey = 40 if rig.frozen else 40 + 5 * (len(rig.times) % 30)
        rig.times.append(time.monotonic_ns())
        camera.write(np.full(LAYOUT.shape, grey, np.uint8), rig.times[-1])
        await asyncio.sleep(1 / RATE)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    memory, events = create(LAYOUT), Events()
    video = VideoStream(source(memory), Video(), events)
    rules = KeepRules(segment_s=1.0)
    recorder = Recorder(make_trace(), events, tmp_path, "r", rules, {}, quality=QUALITY, videos={"wrist": video})
    video.start()
    recorder.start()
    found = Rig(tmp_path, video, recorder, events)
    await until(lambda: video.encoder)
    camera = asyncio.create_task(show(FrameWriter(memory), found))
    yield found
    camera.cancel()
    await video.close()
    await recorder.close()
    os.close(memory)


def messages(path: Path, topic: str = "/cameras/wrist") -> Iterator[Any]:
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        if topic.endswith("quality"):
            for _, _, message in reader.iter_messages(topics=[topic]):
                yield json.loads(message.data)
        else:
            for _, _, message, decoded in reader.iter_decoded_messages(topics=[topic]):
                yield message, decoded


def numbers(path: Path) -> list[int]:
    return [quality["number"] for quality in messages(path, "/cameras/wrist/quality")]


async def test_each_file_can_be_shown_by_itself_and_no_frame_is_missing(rig: Rig) -> None:
    await until(lambda: len(rig.files()) >= 3)
    told = rig.events.recent[0]
    assert (told.name, told.fields["encoder"]) == ("recording.video", "h264 by libx264")
    files, offset = rig.files()[:3], time.time_ns() - time.monotonic_ns()
    seen: list[int] = []
    for path in files:
        decoder: Any = av.CodecContext.create("h264", "r")
        found = list(messages(path))
        assert [decoded.format for _, decoded in found] == ["h264"] * len(found)
        own = numbers(path)
        assert len(own) == len(found)
        pictures = [p for _, decoded in found for p in decoder.decode(av.Packet(bytes(decoded.data)))]
        pictures += decoder.decode(None)
        assert len(pictures) == len(found)
        for number, picture, (message, decoded) in zip(own, pictures, found, strict=True):
            captured_ns = rig.times[number - 1]
            assert message.publish_time == captured_ns
            assert abs(message.log_time - captured_ns - offset) < 100e6
            stamp_ns = decoded.timestamp.sec * 1_000_000_000 + decoded.timestamp.nanosec
            assert stamp_ns == message.log_time
            grey = picture.to_ndarray(format="gray").mean()
            assert abs(grey - (40 + 5 * ((number - 1) % 30))) < 4
        seen += own
    lost = seen[-1] - len(seen)
    assert seen == sorted(set(seen)), "each once"
    # On a busy machine the encoder may come too late for a frame; then it says so.
    assert lost <= rig.stream.ring.dropped
    assert rig.stream.status()["frames"] >= len(seen)


async def test_an_encoder_that_is_killed_is_replaced_and_recording_goes_on(rig: Rig) -> None:
    await until(lambda: rig.stream.ring.frames > 5)
    assert rig.stream.pid is not None
    os.kill(rig.stream.pid, signal.SIGKILL)
    await until(lambda: rig.stream.failed)
    assert "killed by signal 9" in rig.stream.failed
    assert rig.events.counts["recording.video_failed"] == 1
    before = len(rig.times)
    await until(lambda: any(max(numbers(path), default=0) > before for path in rig.files()))
    assert rig.stream.failed == ""
    assert rig.events.counts["recording.failed"] == 0
    assert rig.recorder.dropped == 0


async def test_an_encoder_that_hangs_is_replaced(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await until(lambda: rig.stream.ring.frames > 5)
    assert rig.stream.pid is not None
    monkeypatch.setattr(stream, "_HANGS_S", 4.0)
    os.kill(rig.stream.pid, signal.SIGKILL)  # the next one takes the shorter time
    await until(lambda: rig.stream.failed)
    await until(lambda: rig.stream.encoder)
    os.kill(rig.stream.pid, signal.SIGSTOP)
    await until(lambda: "given nothing back for 4 s" in rig.stream.failed)


async def test_a_recorder_that_is_killed_loses_no_frame(rig: Rig) -> None:
    await until(lambda: rig.recorder.path is not None and rig.stream.ring.frames > 5)
    assert rig.recorder.pid is not None
    os.kill(rig.recorder.pid, signal.SIGKILL)
    killed = len(rig.times)
    await until(lambda: any(max(numbers(path), default=0) > killed + 10 for path in rig.files()))
    later = {number for path in rig.files() for number in numbers(path)}
    first = min(later)
    assert first <= 5, "what was not synced is in the new file, and what it needs to be shown"
    assert len(later) + rig.stream.ring.dropped >= max(later) - first + 1


async def test_what_a_camera_shows_is_part_of_the_verdict(rig: Rig) -> None:
    episode = Episode("e1", 1, "", "", time.monotonic_ns(), time.time_ns())
    rig.recorder.add_episode("start", episode, (episode.started_mono_ns, episode.started_wall_ns), "", "alice")
    await until(lambda: rig.recorder.path is not None and rig.stream.ring.frames > 5)
    rig.frozen = True
    await asyncio.sleep(0.6)
    rig.frozen = False
    await asyncio.sleep(0.1)
    episode.ended_mono_ns, episode.ended_wall_ns, episode.outcome = time.monotonic_ns(), time.time_ns(), "success"
    rig.recorder.add_episode("success", episode, (episode.ended_mono_ns, episode.ended_wall_ns), "", "alice")
    await until(lambda: rig.events.counts["episode.verdict"])
    assert "camera wrist: the same picture for " in rig.events.recent[-1].message
    (path,) = rig.folder.glob("ready/rejected/*.mcap")
    first, *_ = messages(path)
    assert {7, 8} <= set(nal_types(bytes(first[1].data), "h264")), "it begins with a keyframe"


def test_what_is_recorded_follows_the_config() -> None:
    video = Video.model_validate(
        {
            "codec": "h265",
            "rate": 10.0,
            "camera": {"wrist": {"codec": "jpeg", "width": 31, "height": 21}, "top": {"rate": 80.0}},
        }
    )
    layout = FrameLayout(width=65, height=47)
    assert picture_of(layout, 30.0, video.of("side")).rate == 10.0
    side = picture_of(layout, 30.0, video.of("side"))
    assert (video.of("side").codec, side.width, side.height) == ("h265", 64, 46)
    wrist = picture_of(layout, 30.0, video.of("wrist"))
    assert (video.of("wrist").codec, wrist.width, wrist.height, wrist.rate) == ("jpeg", 31, 21, 10.0)
    assert picture_of(layout, 30.0, video.of("top")).rate == 30.0


async def test_a_frame_that_finds_no_room_ends_the_encoder_with_words(monkeypatch: pytest.MonkeyPatch) -> None:
    events, memory = Events(), create(LAYOUT)
    monkeypatch.setattr("runtime.recording.video.stream.PacketRing", lambda capacity: PacketRing(100))
    video = VideoStream(source(memory), Video(codec="jpeg"), events)
    video.start()
    await until(lambda: video.encoder)
    FrameWriter(memory).write(np.random.default_rng(0).integers(0, 256, LAYOUT.shape, np.uint8), 1)
    await until(lambda: video.failed)
    assert "does not fit into 100" in video.failed
    await video.close()
    os.close(memory)
