"""The recording of one camera, seen from the daemon: starts its encoder's process, replaces it when it dies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from runtime.cameras.camera import Camera
from runtime.child.keeper import ChildKeeper
from runtime.child.own import arguments
from runtime.child.process import ChildProcess
from runtime.config.video import VideoStream as Options
from runtime.events import Events
from runtime.policy.worker.frames import FrameLayout
from runtime.recording.video.encoders import Picture
from runtime.recording.video.packets import PacketRing

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
        self._keeper = ChildKeeper(
            partial(arguments, "runtime.recording.video.process", settings),
            self._on_message,
            self._watch,
            self._on_failed,
            camera.descriptor,
            (self.ring.descriptor,),
            longest_s=_RETRY_MAX_S,
            grace_s=_CLOSE_S,
        )

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._keeper.pid

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._keeper.start()

    async def close(self) -> None:
        """End the process; what it has encoded is the recorder's."""
        await self._keeper.close()

    def status(self) -> dict[str, Any]:
        """For `reflexctl status`."""
        return {
            "encoder": self.encoder or None,
            "frames": self.ring.frames,
            "dropped": self.ring.dropped,
            "failed": self.failed or None,
        }

    async def _watch(self, process: ChildProcess) -> str:
        """Look after one life of the process. Returns why it must be replaced, empty when it has ended."""
        self._keeper.ready()
        try:
            hangs_s = max(_HANGS_S, 3 / self.rate)
            while not process.exited.done():
                encoded, shown = self.ring.frames, self._camera.frames
                await asyncio.wait({process.exited}, timeout=hangs_s)
                if self.ring.frames == encoded and self._camera.frames > shown and not process.exited.done():
                    return f"its encoder has given nothing back for {hangs_s:g} s"
            return ""
        finally:
            self.encoder = ""

    def _on_failed(self, cause: str, wait_s: float) -> None:
        self.failed = cause
        name = self._camera.name
        self._events.emit(
            "recording.video_failed",
            f"nothing is recorded of camera {name}: {cause}; next attempt in {wait_s:g} s",
            level="error",
            camera=name,
            reason=cause,
        )

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
