"""The recording of one camera, seen from the daemon: starts its encoder's process, replaces it when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.cameras.camera import Camera
from runtime.child.backoff import Backoff
from runtime.child.process import ChildProcess
from runtime.config.video import VideoStream as Options
from runtime.events import Events
from runtime.policy.worker.frames import FrameLayout
from runtime.recording.video.encoders import Picture
from runtime.recording.video.packets import PacketRing

_HOUSE = Path(__file__).parent.parent.parent.parent
# Not `-m`: that would find another `runtime` in the folder where the daemon was started.
_BOOT = (
    "import sys; sys.path[0] = sys.argv[1]; from runtime.recording.video.process import main; main(sys.argv[2])"
)
_WAITS_S = 4.0
"""So much video waits for a recorder that is slow or being replaced."""
_CAPACITY_MIN = 1 << 20
_RETRY_MAX_S = 30.0
_CLOSE_S = 1.0
_HANGS_S = 30.0
"""An encoder that gives nothing back for so long, though the camera has frames, is replaced."""


class VideoStream:
    """One camera's frames on their way to the recorder. All of it happens in another process."""

    def __init__(
        self,
        camera: Camera,
        options: Options,
        events: Events,
        cpus: Sequence[int] = (),
    ) -> None:
        """`cpus`: where the process may run, empty for anywhere. Raises OSError without memory."""
        rate = camera.options.rate
        picture = picture_of(camera.layout, rate, options)
        self.rate = picture.rate
        """Of the recorded frames, Hz."""
        self.ring = PacketRing(_capacity(picture, options))
        self.encoder = ""
        """What encodes, in words; empty while nothing does."""
        self.failed = ""
        """Why nothing is recorded of this camera now; empty while all is well."""
        self._camera = camera
        self._events = events
        settings = {"codec": options.codec, "camera_rate": rate, "picture": asdict(picture), "cpus": list(cpus)}
        self._arguments = (sys.executable, "-c", _BOOT, str(_HOUSE), json.dumps(settings))
        self._task: asyncio.Task[None] | None = None
        self._process: ChildProcess | None = None

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._task = asyncio.create_task(self._keep_running())

    async def close(self) -> None:
        """End the process; what it has encoded is the recorder's."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def status(self) -> dict[str, Any]:
        """For `reflexctl status`."""
        return {
            "encoder": self.encoder or None,
            "frames": self.ring.frames,
            "dropped": self.ring.dropped,
            "failed": self.failed or None,
        }

    async def _keep_running(self) -> None:
        backoff = Backoff(longest_s=_RETRY_MAX_S)
        with ThreadPoolExecutor(1, "video-spawn") as executor:
            while True:
                self.failed = await self._run_process(executor, backoff)
                wait_s = backoff.failed(time.monotonic_ns())
                name = self._camera.name
                self._events.emit(
                    "recording.video_failed",
                    f"nothing is recorded of camera {name}: {self.failed}; next attempt in {wait_s:g} s",
                    level="error",
                    camera=name,
                    reason=self.failed,
                )
                await asyncio.sleep(wait_s)

    async def _run_process(self, executor: ThreadPoolExecutor, backoff: Backoff) -> str:
        """One life of the process. Returns how it ended."""
        try:
            process = await ChildProcess.start(
                self._arguments, self._camera.descriptor, executor, self._on_message, (self.ring.descriptor,)
            )
        except OSError as error:
            return f"its encoder cannot start: {error}"
        backoff.ready(time.monotonic_ns())
        self._process = process
        try:
            hangs_s = max(_HANGS_S, 3 / self.rate)
            while not process.exited.done():
                encoded, shown = self.ring.frames, self._camera.frames
                await asyncio.wait({process.exited}, timeout=hangs_s)
                if self.ring.frames == encoded and self._camera.frames > shown and not process.exited.done():
                    return f"its encoder has given nothing back for {hangs_s:g} s"
        finally:
            self._process = None
            self.encoder = ""
            await process.close(_CLOSE_S)
        return "; ".join([*process.last_words()[-1:], process.exited.result()])

    def _on_message(self, message: bytes) -> None:
        try:
            told = json.loads(message)
            encoder, better = str(told["encoder"]), "".join(f"; {failure}" for failure in told["failures"])
        except (ValueError, TypeError, KeyError):  # an exception here would end the daemon and cut power
            encoder, better = "something odd", ""
        self.encoder, self.failed = encoder, ""
        self._events.emit(
            "recording.video",
            f"camera {self._camera.name} is recorded as {self.encoder}{better}",
            camera=self._camera.name,
            encoder=self.encoder,
        )


def picture_of(layout: FrameLayout, rate: float, options: Options) -> Picture:
    """What is recorded of a camera's frames. H.264 and H.265 have even sizes only."""
    step = 1 if options.codec == "jpeg" else 2
    return Picture(
        width=(options.width or layout.width) // step * step,
        height=(options.height or layout.height) // step * step,
        rate=min(options.rate or rate, rate),
        bitrate=options.bitrate,
        jpeg_quality=options.jpeg_quality,
    )


def _capacity(picture: Picture, options: Options) -> int:
    """Of the ring, bytes: a good JPEG takes a quarter of a byte for each pixel, the best one more than one."""
    jpeg = picture.width * picture.height
    second = jpeg / 2 * picture.rate if options.codec == "jpeg" else 2 * picture.bitrate * 1e6 / 8
    return max(round(_WAITS_S * second), 4 * jpeg, _CAPACITY_MIN)
