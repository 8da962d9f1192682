"""A pipeline of the system's GStreamer, through the interpreter that has its bindings."""

from __future__ import annotations

import os
import subprocess
import time

import numpy as np
import pytest

from runtime.cameras.camera import Camera, settings_of
from runtime.config.cameras import GStreamerCamera
from runtime.events import Events
from runtime.policy.worker.frames import FrameReader
from tests.cameras.conftest import Bench

PYTHON = "/usr/bin/python3"
ASK = "import numpy, gi; gi.require_version('Gst', '1.0'); from gi.repository import Gst; Gst.init(None)"


def there() -> bool:
    return (
        os.path.exists(PYTHON)
        and subprocess.run([PYTHON, "-c", ASK], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture
async def pipeline():
    if not there():
        pytest.skip(f"{PYTHON} has no numpy and GStreamer: apt install python3-numpy python3-gst-1.0")
    made = []

    def make(text):
        options = GStreamerCamera(type="gstreamer", pipeline=text, width=34, height=18, rate=30, python=PYTHON)
        events, told = Events(), []
        events.listen(told.append)
        made.append(Camera("front", options, settings_of("front", options, None), events))
        made[-1].start()
        return Bench(made[-1], told)

    yield make
    for camera in made:
        await camera.close()


async def test_a_live_pipeline(pipeline):
    b = pipeline("videotestsrc is-live=true pattern=red ! video/x-raw,width=68,height=36,framerate=30/1")
    await b.until(lambda: b.camera.frames > 3, "frames")
    frame = FrameReader(b.camera.descriptor).latest()
    assert frame.pixels.shape == (18, 34, 3)
    assert np.abs(frame.pixels.astype(int) - [255, 0, 0]).max() < 8
    assert 0 <= time.monotonic_ns() - frame.mono_ns < 10e9


@pytest.mark.parametrize(
    ("text", "words"),
    [("nosuchelement", "nosuchelement"), ("videotestsrc num-buffers=2", "end of the stream")],
)
async def test_a_pipeline_that_ends_says_why(pipeline, text, words):
    b = pipeline(text)
    await b.until(lambda: "camera.lost" in b.names, "its end")
    assert words in b.camera.about
