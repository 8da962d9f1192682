"""Recorded video shown to a policy's worker, as its cameras would: through the same shared memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from runtime.config.config import Config
from runtime.policy.worker.frames import FrameLayout, FrameWriter, create
from runtime.recording.reader import CAMERAS, Recording
from runtime.replay.errors import ReplayError

_ANY_AGE_S = 1e6


class ShownCamera:
    """What a policy knows of a camera: its newest frame, and when that was captured."""

    def __init__(
        self,
        name: str,
        options: Any,
        recordings: Sequence[Recording],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`options`: of the camera in the config: width, height (pixels).

        Raises ReplayError when the recordings have no frame of it.
        """
        parts = [recording for recording in recordings if name in recording.cameras]
        if not parts:
            raise ReplayError(
                f"the policy sees through camera {name}, of which the recording has no frame; its observation "
                "cannot be made again"
            )
        try:
            from runtime.export.video import decode
        except ModuleNotFoundError as error:
            raise ReplayError(
                f"to decode video install the extra: pip install 'reflexd[export]' ({error})"
            ) from error
        self.name = name
        self.options = SimpleNamespace(max_age=_ANY_AGE_S)  # what was believed then is believed now
        self.stamp_ns = 0
        """CLOCK_MONOTONIC time of the capture, in recorded time."""
        self.missing = 0
        """Frames that the policy saw and the recording does not have: an earlier one was shown."""
        self.layout = FrameLayout(options.width, options.height)
        self.descriptor = create(self.layout)
        self._writer = FrameWriter(self.descriptor)
        self._clock = clock
        self._times = [mono_ns for part in parts for mono_ns, _ in part.raw(CAMERAS + name)]
        self._frames: Iterator[tuple[int, Any]] = decode(parts, name)
        self._next = next(self._frames, None)
        self._shows = False
        self._pixels = np.zeros(self.layout.shape, np.uint8)

    def show(self, moment_ns: int, seen_ns: int | None = None) -> None:
        """Show the frame that was captured at `seen_ns`; where it was not recorded which one was seen, the
        newest one of a moment (both CLOCK_MONOTONIC). Times only go forward."""
        newest, until_ns = None, moment_ns if seen_ns is None else seen_ns
        while self._next is not None and self._times[self._next[0]] <= until_ns:
            newest = self._next
            self._next = next(self._frames, None)
        if newest is not None:
            number, frame = newest
            self.stamp_ns = self._times[number]
            pixels = frame.to_ndarray(format="rgb24", width=self.layout.width, height=self.layout.height)
            self._shows = True
            self._pixels = np.ascontiguousarray(pixels)
        if seen_ns is not None:
            self.missing += seen_ns != self.stamp_ns
            self.stamp_ns = seen_ns
        if self._shows:
            # The worker reckons its age by the clock of now.
            self._writer.write(self._pixels, self._clock() - (moment_ns - self.stamp_ns))

    def close(self) -> None:
        """Give the memory back."""
        os.close(self.descriptor)


def shown(config: Config, recordings: Sequence[Recording]) -> dict[str, ShownCamera]:
    """The cameras that the policies of a config see. Raises ReplayError."""
    sources = {term.source for inference in config.policies.values() for term in inference.observation}
    names = {source.split(".")[1] for source in sources if source.startswith("camera.")}
    return {name: ShownCamera(name, config.cameras[name], recordings) for name in sorted(names)}
