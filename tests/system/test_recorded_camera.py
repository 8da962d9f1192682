"""What the daemon records of a camera: frames in the file, their count in the status, a part in the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

pytestmark = pytest.mark.system

RATE = 20


def write_video(path: Path) -> None:
    """Three seconds of noise."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(3 * RATE):
            pixels = rng.integers(0, 256, (48, 64, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode(None))


def test_an_episode_has_the_frames_of_its_cameras(make_rig: Callable[..., Any], tmp_path: Path) -> None:
    video, spool = tmp_path / "video.mp4", tmp_path / "spool"
    write_video(video)
    camera = f'{{type="video",file="{video}",width=64,height=48,rate={RATE}.0}}'
    rig = make_rig(
        f"cameras.wrist={camera}", f'recording.directory="{spool}"', "recording.quality.sharpness_min=1e6"
    )

    def recorded() -> int:
        found = rig.status()["recording"]["video"]["wrist"]
        assert found["failed"] is None
        return found["frames"]  # type: ignore[no-any-return]

    rig.wait(lambda: recorded() > 0, timeout_s=40.0, what="a frame is recorded")
    assert rig.status()["recording"]["video"]["wrist"]["encoder"] == "h264 by libx264"
    rig.daemon.request("arm")
    rig.daemon.request("episode", action="start")
    before = recorded()
    rig.wait(lambda: recorded() > before + 10, timeout_s=40.0, what="frames of the episode")
    rig.daemon.request("episode", action="success")
    rig.wait(lambda: "episode.verdict" in rig.events(), what="a verdict")
    [verdict] = [event for event in rig.told() if event["name"] == "episode.verdict"]
    assert "camera wrist: 100.0% of" in verdict["message"], "nothing is as sharp as that"
    rig.daemon.close()

    (path,) = spool.glob("ready/rejected/*.mcap")
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        frames = [message[3] for message in reader.iter_decoded_messages(topics=["/cameras/wrist"])]
        told = [json.loads(m.data) for _, _, m in reader.iter_messages(topics=["/cameras/wrist/quality"])]
    decoder = av.CodecContext.create("h264", "r")
    pictures = [picture for frame in frames for picture in decoder.decode(av.Packet(bytes(frame.data)))]
    assert len(pictures) + len(decoder.decode(None)) == len(frames) == len(told) > 0
