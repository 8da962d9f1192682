"""A video file in place of a camera, over and over, at its own rate; decoded by PyAV.

Runs in the camera's interpreter: Python 3.9, numpy, the standard library and av.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Iterator, Mapping, Optional

from runtime.cameras.worker.source import PATIENCE_S, CameraError, Captured, Pixels, need

_SAME_RATE = 0.01
"""Rates that differ by this part are the same: 29.97 and 30 Hz."""


class VideoSource:
    """Each frame is captured at the moment when it is due, and made to fit the camera's size."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raises CameraError."""
        av = need("av", "av (PyAV)")
        path, rate = settings["file"], settings["rate"]
        try:
            self._file = av.open(path)
        except (OSError, ValueError) as error:
            raise CameraError(f"{path} cannot be played: {error}") from error
        if not self._file.streams.video:
            raise CameraError(f"{path} cannot be played: there is no video in it")
        self._stream = self._file.streams.video[0]
        own = float(self._stream.average_rate or 0)
        if abs(own - rate) > _SAME_RATE * rate:
            raise CameraError(
                f"{path} has {own:g} frames per second, expected {rate:g}; correct the camera's rate"
            )
        self.about = f"{path}, {self._stream.codec_context.name}, {own:g} Hz"
        self._size = {"width": settings["width"], "height": settings["height"]}
        self._clock, self._sleep = clock, sleep
        self._period_ns = round(1e9 / own)
        self._frames = self._play()
        self._next: Optional[Pixels] = None
        self._due_ns = clock()

    def read(self) -> Optional[Captured]:
        """As of a `Source`."""
        if self._next is None:
            self._next = next(self._frames)
        now_ns = self._clock()
        if self._due_ns > now_ns:
            self._sleep(min((self._due_ns - now_ns) / 1e9, PATIENCE_S))
            now_ns = self._clock()
            if self._due_ns > now_ns:
                return None
        pixels, self._next = self._next, None
        # Who was held up does not catch up: a camera has no frames to give later.
        self._due_ns = max(self._due_ns + self._period_ns, now_ns)
        return Captured(now_ns, pixels)

    def close(self) -> None:
        """As of a `Source`."""
        self._file.close()

    def _play(self) -> Iterator[Pixels]:
        while True:
            played = 0
            for frame in self._file.decode(self._stream):
                played += 1
                yield frame.to_ndarray(format="rgb24", **self._size)
            if not played:
                raise CameraError("the video has no frames")
            self._file.seek(0)
