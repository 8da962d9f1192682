"""V4L2 at linuxpy's boundary: a device of the kernel is played, as this machine need not have one."""

from __future__ import annotations

import fractions
import os
import time
import types
from types import SimpleNamespace

import av
import numpy as np
import pytest
from linuxpy.video import raw
from linuxpy.video.device import Format, PixelFormat

from runtime.cameras.worker import v4l2
from runtime.cameras.worker.pixels import Converter
from runtime.cameras.worker.source import CameraError

WIDTH, HEIGHT = 16, 8
KEYS = {
    "device": "/dev/video7",
    "width": WIDTH,
    "height": HEIGHT,
    "rate": 30.0,
    "pixel_format": "YUYV",
    "exposure": None,
    "controls": {},
}
AUTO, TIME, GAIN = 0x009A0901, 0x009A0902, 0x00980913


class Control:
    """A setting of the played device; the exposure time may be set only while that is not automatic."""

    def __init__(self, device, name, value, low, high, data=None):
        self.config_name, self._value, self.data = name, value, data
        self._device, self._low, self._high = device, low, high

    @property
    def value(self):
        return self._value

    @value.setter
    def value(self, value):
        if self.config_name == "exposure_time_absolute" and self._device.controls[AUTO].value != 1:
            raise AttributeError("not writeable: inactive")
        if not self._low <= value <= self._high:
            raise ValueError(f"{value} exceeds {self._low} to {self._high}")
        self._value = value


class Controls(dict):
    clipping = True

    def refresh(self):
        self.clipping = True

    def set_clipping(self, clipping):
        self.clipping = clipping


class Device:
    """A camera that has one size, one rate and one format, whatever it is asked for."""

    def __init__(self, path):
        self.path = path
        self.info = SimpleNamespace(card="A camera")
        self.frames = []
        self.gone = self.closed = False
        self.rate = fractions.Fraction(30)
        self.got = Format(WIDTH, HEIGHT, PixelFormat.YUYV, 2 * WIDTH * HEIGHT, 2 * WIDTH)
        self._ready, self._far = os.pipe()
        self.controls = Controls()
        self.controls[AUTO] = Control(self, "auto_exposure", 1, 0, 3, {1: "Manual", 3: "Aperture"})
        self.controls[TIME] = Control(self, "exposure_time_absolute", 100, 1, 5000)
        self.controls[GAIN] = Control(self, "gain", 0, 0, 10)
        DEVICES.append(self)

    def open(self):
        if self.path == "/dev/none":
            raise FileNotFoundError(2, "No such file or directory", self.path)

    def close(self):
        self.closed = True

    def fileno(self):
        return self._ready

    def play(self, data, flags=0x2000, at_us=5_000_001):
        buff = raw.v4l2_buffer()
        buff.flags = flags
        buff.timestamp.secs, buff.timestamp.usecs = divmod(at_us, 1_000_000)
        self.frames.append((data, buff))
        os.write(self._far, b".")


class Capture:
    def __init__(self, device, size):
        self.device = device
        self.buffer = self

    def set_format(self, width, height, pixel_format):
        pass

    def get_format(self):
        return self.device.got

    def set_fps(self, rate):
        pass

    def get_fps(self):
        return self.device.rate

    def open(self):
        pass

    def raw_read(self, into):
        if self.device.gone:
            raise OSError(19, "No such device")
        os.read(self.device.fileno(), 1)
        data, buff = self.device.frames.pop(0)
        into[: len(data)] = data
        return SimpleNamespace(data=memoryview(into)[: len(data)], buff=buff)


DEVICES: list[Device] = []


@pytest.fixture(autouse=True)
def kernel(monkeypatch):
    module = types.ModuleType("linuxpy.video.device")
    module.Device, module.VideoCapture, module.V4L2Error = Device, Capture, RuntimeError
    real = v4l2.need
    monkeypatch.setattr(v4l2, "need", lambda name, package: module if "linuxpy" in name else real(name, package))
    yield
    for device in DEVICES:
        os.close(device._ready)
        os.close(device._far)
    DEVICES.clear()


def gray(shade: int) -> bytes:
    return bytes([shade, 128] * (WIDTH * HEIGHT))


def test_frames_come_with_the_drivers_time():
    source = v4l2.V4l2Source(KEYS)
    assert "A camera" in source.about
    DEVICES[0].play(gray(235))
    captured = source.read()
    assert captured.mono_ns == 5_000_001_000
    assert captured.pixels.shape == (HEIGHT, WIDTH, 3)
    assert captured.pixels.min() > 250, "235 is white in video's range"


@pytest.mark.parametrize("flags", [0x0000, 0x4000])
def test_a_driver_without_a_monotonic_time(flags):
    source = v4l2.V4l2Source(KEYS)
    before_ns = time.monotonic_ns()
    DEVICES[0].play(gray(16), flags=flags)
    assert before_ns <= source.read().mono_ns <= time.monotonic_ns()


def test_broken_frames_are_left_out():
    source = v4l2.V4l2Source(KEYS)
    DEVICES[0].play(gray(16), flags=0x2040)
    DEVICES[0].play(gray(16)[:-9])
    assert source.read() is None
    assert source.read() is None


def test_no_frame_in_time(monkeypatch):
    monkeypatch.setattr(v4l2, "PATIENCE_S", 0.01)
    assert v4l2.V4l2Source(KEYS).read() is None


def test_it_is_unplugged():
    source = v4l2.V4l2Source(KEYS)
    DEVICES[0].play(gray(16))
    DEVICES[0].gone = True
    with pytest.raises(CameraError, match="/dev/video7 is gone: No such device"):
        source.read()


def test_exposure_by_hand():
    v4l2.V4l2Source({**KEYS, "exposure": 0.02, "controls": {"gain": 7}})
    controls = DEVICES[0].controls
    assert (controls[AUTO].value, controls[TIME].value, controls[GAIN].value) == (1, 200, 7)


def test_automatic_exposure_whatever_was_left():
    v4l2.V4l2Source(KEYS)
    assert DEVICES[0].controls[AUTO].value == 3


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"device": "/dev/none"}, "/dev/none cannot be opened"),
        ({"pixel_format": "MJPG"}, "found 16x8 YUYV, expected 16x8 MJPG"),
        ({"width": 32}, "found 16x8 YUYV, expected 32x8 YUYV"),
        ({"rate": 60.0}, "found 30 Hz, expected 60"),
        ({"exposure": 9.0}, "control exposure_time_absolute: 90000 exceeds"),
        ({"controls": {"zoom": 1}}, "has no control 'zoom'; found auto_exposure, exposure_time_absolute, gain"),
        ({"controls": {"gain": 11}}, "control gain: 11 exceeds"),
    ],
)
def test_what_the_camera_cannot_do(keys, words):
    with pytest.raises(CameraError, match=words):
        v4l2.V4l2Source({**KEYS, **keys})
    assert DEVICES[0].closed


PICTURE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
PICTURE[:, :8] = (200, 60, 30)
PICTURE[:, 8:] = (30, 60, 200)


def as_sent(name: str) -> bytes:
    frame = av.VideoFrame.from_ndarray(PICTURE, "rgb24")
    if name == "MJPG":
        encoder = av.CodecContext.create("mjpeg", "w")
        encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuvj444p"
        encoder.time_base = fractions.Fraction(1, 30)
        return b"".join(
            bytes(packet) for packet in [*encoder.encode(frame.reformat(format="yuvj444p")), *encoder.encode(None)]
        )
    other = {
        "YUYV": "yuyv422",
        "UYVY": "yuyv422",
        "RGB3": "rgb24",
        "BGR3": "bgr24",
        "NV12": "nv12",
        "GREY": "gray",
    }
    data = frame.to_ndarray(format=other[name])
    return (data[:, :, ::-1] if name == "UYVY" else data).tobytes()


@pytest.mark.parametrize(
    ("name", "line"),
    [("YUYV", 32), ("UYVY", 32), ("RGB3", 48), ("BGR3", 48), ("NV12", 16), ("MJPG", 0)],
)
def test_formats(name, line):
    found = Converter(name, WIDTH, HEIGHT, line).convert(as_sent(name))
    assert np.abs(found.astype(int) - PICTURE)[:, [2, 13]].max() < 25


def test_gray_pictures_and_padded_rows():
    rows = np.zeros((HEIGHT, 32), np.uint8)
    rows[:, :WIDTH] = 77
    assert (Converter("GREY", WIDTH, HEIGHT, 32).convert(rows.tobytes()) == 77).all()


def test_a_broken_jpeg_and_one_of_another_size():
    converter = Converter("MJPG", WIDTH, HEIGHT, 0)
    assert converter.convert(b"\xff\xd8 nonsense") is None
    with pytest.raises(CameraError, match="found a frame of 16x8, expected 32x8"):
        Converter("MJPG", 32, HEIGHT, 0).convert(as_sent("MJPG"))
