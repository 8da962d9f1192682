"""The end of a GStreamer pipeline, through PyGObject.

A frame's time is the pipeline's base time and the buffer's own; with the system's clock, which is chosen here,
that is CLOCK_MONOTONIC. For sources that are not live, and buffers without a time, it is the moment when we took
it.

Runs in the camera's interpreter, which is mostly the system's: Python 3.9, numpy, the standard library and gi.
"""

from __future__ import annotations

import time
from typing import Any, Mapping, Optional

import numpy as np

from runtime.cameras.worker.source import PATIENCE_S, CameraError, Captured, need

_TAIL = (
    "{pipeline} ! videoconvert ! videoscale ! video/x-raw,format=RGB,width={width},height={height} "
    "! appsink name=reflexd max-buffers=2 drop=true sync=false"
)
_OLD_NS = 1_000_000_000
"""A time that lies this far back, or ahead, is none of a capture."""
_START_S = 10


class GStreamerSource:
    """A running pipeline."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Raises CameraError."""
        gi = need("gi", "PyGObject (Debian: python3-gst-1.0)")
        try:
            gi.require_version("Gst", "1.0")
            from gi.repository import Gst
        except (ValueError, ImportError) as error:
            raise CameraError(
                f"GStreamer cannot be used: {error}; install it with its introspection data"
            ) from error
        Gst.init(None)
        self._gst: Any = Gst
        self._shape = (settings["height"], settings["width"], 3)
        text = _TAIL.format(**settings)
        try:
            self._pipeline = Gst.parse_launch(text)
        except Exception as error:  # GLib.Error, whose module comes with gi
            raise CameraError(f"the pipeline cannot be built: {error}; try `gst-launch-1.0 {text}`") from error
        self._clock = Gst.SystemClock.obtain()
        self._pipeline.use_clock(self._clock)
        self._sink = self._pipeline.get_by_name("reflexd")
        self._bus = self._pipeline.get_bus()
        self._pipeline.set_state(Gst.State.PLAYING)
        if self._pipeline.get_state(_START_S * Gst.SECOND)[0] == Gst.StateChangeReturn.FAILURE:
            why = self._complaint() or "it does not say why"
            self.close()
            raise CameraError(f"the pipeline does not start: {why}")
        self.about = settings["pipeline"]

    def read(self) -> Optional[Captured]:
        """As of a `Source`."""
        sample = self._sink.emit("try-pull-sample", int(PATIENCE_S * 1e9))
        if sample is None:
            if complaint := self._complaint():
                raise CameraError(f"the pipeline has ended: {complaint}")
            return None
        buffer, now_ns = sample.get_buffer(), time.monotonic_ns()
        mono_ns = now_ns
        if buffer.pts != self._gst.CLOCK_TIME_NONE:
            stamped_ns = self._pipeline.get_base_time() + buffer.pts
            if now_ns - _OLD_NS < stamped_ns <= now_ns:
                mono_ns = stamped_ns
        height, width, _ = self._shape
        line = -(-3 * width // 4) * 4  # GStreamer's rows of RGB end at whole words
        mapped, info = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            raise CameraError("the pipeline gave a buffer that cannot be read")
        try:
            rows = np.frombuffer(info.data, np.uint8)[: line * height].reshape(height, line)
            return Captured(mono_ns, rows[:, : 3 * width].reshape(self._shape).copy())
        finally:
            buffer.unmap(info)

    def close(self) -> None:
        """As of a `Source`."""
        self._pipeline.set_state(self._gst.State.NULL)

    def _complaint(self) -> str:
        """What the pipeline says of its end; empty while it has not ended."""
        kinds = self._gst.MessageType
        message = self._bus.pop_filtered(kinds.ERROR | kinds.EOS)
        if message is None:
            return ""
        return str(message.parse_error()[0].message) if message.type == kinds.ERROR else "end of the stream"
