"""Cameras of the emulated robot: rendered in a process of their own, and broken on demand."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

from runtime.cameras.camera import Camera, settings_of
from runtime.cli.processes import Emulator
from runtime.config.load import load
from runtime.events import Events
from runtime.policy.worker.frames import FrameReader

CONFIG = Path(__file__).parents[2] / "configs" / "demo.toml"
KEYS = {
    "cameras.view.type": "emulated",
    "cameras.view.camera": "view",
    "cameras.view.width": 48,
    "cameras.view.height": 32,
    "cameras.view.rate": 25.0,
    "cameras.view.black": 0.1,
    "cameras.view.frozen": 0.1,
}
PATIENCE_S = 40.0

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mujoco") is None, reason="needs the extra `sim`")


async def test_it_shows_the_robot_and_can_be_broken(tmp_path):
    config = load(CONFIG, run_dir=tmp_path, overrides=KEYS)
    options = config.cameras["view"]
    events, told = Events(), []
    events.listen(told.append)
    camera = Camera("view", options, settings_of("view", options, config.emulated), events)
    reader = FrameReader(camera.descriptor)

    async def until(condition, what):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not happen: {told}"
            await asyncio.sleep(0.01)

    async def broken(kind, event):
        emulator.ask("camera", camera="view", kind=kind)
        await until(lambda: event in [each.name for each in told], event)
        emulator.ask("camera", camera="view", kind="")

    try:
        with Emulator(config) as emulator:
            camera.start()
            await until(lambda: camera.frames, "a frame")
            frame = reader.latest()
            assert frame.pixels.shape == (32, 48, 3)
            assert np.ptp(frame.pixels) > 100, "there is something to see"
            assert 0 < time.monotonic_ns() - frame.mono_ns < PATIENCE_S * 1e9
            await broken("stalled", "camera.stalled")
            await broken("black", "camera.black")
            # The arm stands, so every picture is the same.
            await until(lambda: told[-1].name == "camera.frozen", "a picture that stands still")
            await broken("lost", "camera.lost")
            assert "unplugged" in camera.about
            await until(lambda: camera.fault == "frozen", "another process")
    finally:
        await camera.close()
