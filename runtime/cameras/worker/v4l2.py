"""A camera of the kernel, through linuxpy: V4L2 with memory-mapped buffers.

A frame's time is the driver's own, CLOCK_MONOTONIC, where the driver says so (`V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC`,
as nearly all cameras' drivers do); otherwise the moment when we took it.

Runs in the camera's interpreter: numpy, the standard library, av and linuxpy, with the Python that this asks for.
"""

from __future__ import annotations

import select
import time
from typing import Any, Mapping, Optional

from runtime.cameras.worker.pixels import Converter
from runtime.cameras.worker.source import PATIENCE_S, CameraError, Captured, need

_BUFFERS = 4
# linux/videodev2.h
_BROKEN = 0x40
_TIMESTAMP, _MONOTONIC = 0xE000, 0x2000
_SAME_RATE = 0.01
# linux/v4l2-controls.h; exposure times are in steps of 100 us.
_AUTO_EXPOSURE, _EXPOSURE_TIME = 0x009A0901, 0x009A0902
_MANUAL, _AUTOMATIC = 1, (3, 0)
"""Values of automatic exposure: by hand; by the aperture's priority, which webcams have, or all by itself."""


class V4l2Source:
    """An open device that streams."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Raises CameraError."""
        video = need("linuxpy.video.device", "linuxpy")
        self._path = settings["device"]
        self._device = video.Device(self._path)
        try:
            self._device.open()
            self._set_format(video, settings)
            self._set_controls(settings)
            self._capture.open()
        except (OSError, video.V4L2Error) as error:
            self._device.close()
            raise CameraError(f"{self._path} cannot be opened: {error}") from error
        except BaseException:
            self._device.close()
            raise
        self.about = f"{self._path}, {self._device.info.card}, {settings['pixel_format']}"

    def read(self) -> Optional[Captured]:
        """As of a `Source`."""
        if not select.select([self._device], [], [], PATIENCE_S)[0]:
            return None
        try:
            # Into memory of ours: the driver has the buffer back before this returns.
            frame = self._capture.buffer.raw_read(into=self._copy)
        except OSError as error:
            raise CameraError(f"{self._path} is gone: {error.strerror}") from error
        flags, stamp = frame.buff.flags, frame.buff.timestamp
        pixels = None if flags & _BROKEN else self._converter.convert(frame.data)
        if pixels is None:  # a cable, mostly; if it stays so, the camera stalls
            return None
        mono_ns = stamp.secs * 1_000_000_000 + stamp.usecs * 1_000
        if flags & _TIMESTAMP != _MONOTONIC:
            mono_ns = time.monotonic_ns()
        return Captured(mono_ns, pixels)

    def close(self) -> None:
        """As of a `Source`."""
        self._device.close()

    def _set_format(self, video: Any, settings: Mapping[str, Any]) -> None:
        width, height, wanted = settings["width"], settings["height"], settings["pixel_format"]
        self._capture = video.VideoCapture(self._device, size=_BUFFERS)
        self._capture.set_format(width, height, wanted)
        got = self._capture.get_format()
        fourcc = int(got.pixel_format).to_bytes(4, "little").decode("ascii", "replace")
        if (got.width, got.height, fourcc) != (width, height, wanted):
            raise CameraError(
                f"{self._path}: found {got.width}x{got.height} {fourcc}, expected {width}x{height} {wanted}; "
                f"choose one that `v4l2-ctl -d {self._path} --list-formats-ext` shows"
            )
        self._capture.set_fps(settings["rate"])
        rate = float(self._capture.get_fps())
        if abs(rate - settings["rate"]) > _SAME_RATE * rate:
            raise CameraError(
                f"{self._path}: found {rate:g} Hz, expected {settings['rate']:g}; choose a rate that "
                f"`v4l2-ctl -d {self._path} --list-formats-ext` shows for this size"
            )
        self._copy = bytearray(got.size)
        self._converter = Converter(wanted, width, height, 0 if wanted == "MJPG" else got.bytes_per_line)

    def _set_controls(self, settings: Mapping[str, Any]) -> None:
        exposure_s = settings["exposure"]
        known = dict(self._device.controls.items())
        if exposure_s is not None:
            if _EXPOSURE_TIME not in known:
                raise CameraError(f"{self._path} has no exposure time that could be set; remove `exposure`")
            if _AUTO_EXPOSURE in known:
                self._set(_AUTO_EXPOSURE, _MANUAL)
            self._set(_EXPOSURE_TIME, round(exposure_s * 1e4))
        elif _AUTO_EXPOSURE in known:
            # It may be as somebody else has left it.
            self._set(_AUTO_EXPOSURE, next(value for value in _AUTOMATIC if value in known[_AUTO_EXPOSURE].data))
        for name, value in settings["controls"].items():
            by_name = {control.config_name: number for number, control in self._device.controls.items()}
            if name not in by_name:
                raise CameraError(f"{self._path} has no control {name!r}; found {', '.join(sorted(by_name))}")
            self._set(by_name[name], value)

    def _set(self, number: int, value: int) -> None:
        # One control makes others writable: what was read before may not hold any more.
        self._device.controls.refresh()
        self._device.controls.set_clipping(False)
        control = self._device.controls[number]
        try:
            control.value = value
        except (ValueError, AttributeError) as error:
            raise CameraError(f"{self._path}, control {control.config_name}: {error}") from error
