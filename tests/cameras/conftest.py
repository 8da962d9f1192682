"""A camera of the daemon with a real process, and small videos to play."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from runtime.cameras.camera import Camera, settings_of
from runtime.config.cameras import VideoCamera
from runtime.events import Event, Events

PATIENCE_S = 30.0
WIDTH, HEIGHT = 32, 16


def film(path: Path, shades: list[int], rate: int = 50) -> Path:
    """A video of pictures of one shade each, without loss."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("ffv1", rate=rate, options={"threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
        for shade in shades:
            picture = np.full((HEIGHT, WIDTH, 3), shade, np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    return path


class Bench:
    """One camera, and what was told of it."""

    def __init__(self, camera: Camera, told: list[Event]) -> None:
        self.camera = camera
        self.told = told

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.told]

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not happen: {self.told}, {self.camera.about}"
            await asyncio.sleep(0.01)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Callable[..., Bench]]:
    """Makes cameras that play a video; more keys are those of the config."""
    made: list[Camera] = []

    def make(file: Path, **keys: Any) -> Bench:
        options = VideoCamera(
            **{"type": "video", "width": WIDTH, "height": HEIGHT, "rate": 50, "file": file, **keys}
        )
        events, told = Events(), []
        events.listen(told.append)
        made.append(Camera("front", options, settings_of("front", options, None), events))
        made[-1].start()
        return Bench(made[-1], told)

    yield make
    for camera in made:
        await camera.close()
