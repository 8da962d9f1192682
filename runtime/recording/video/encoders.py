"""From pixels to H.264, H.265 or JPEG: the first encoder of a list that works on this machine."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

import numpy as np

from runtime.recording.quality.frame import Pixels
from runtime.recording.video.packets import Format

KEYFRAMES_S = 2.0
"""Time between two keyframes, s: so much has to be decoded before any frame can be shown."""
_HARDWARE_FIRST: dict[Format, tuple[str, ...]] = {
    "h264": ("h264_nvenc", "h264_v4l2m2m", "libx264"),
    "h265": ("hevc_nvenc", "hevc_v4l2m2m", "libx265"),
}
# No B-frames, no look-ahead, a forced I-frame is one that can be begun with. Names are FFmpeg's own.
_OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "tune": "zerolatency", "crf": "23", "forced-idr": "1"},
    "libx265": {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "crf": "26",
        "forced-idr": "1",
        "x265-params": "log-level=error:open-gop=0",
    },
    "h264_nvenc": {"preset": "p4", "tune": "ull", "rc": "vbr", "cq": "26", "forced-idr": "1", "delay": "0"},
    "hevc_nvenc": {"preset": "p4", "tune": "ull", "rc": "vbr", "cq": "28", "forced-idr": "1", "delay": "0"},
}
_PARAMETER_SETS: dict[Format, frozenset[int]] = {"h264": frozenset({7, 8}), "h265": frozenset({32, 33, 34})}
"""Types of the NAL units that a decoder has to have first: SPS and PPS; VPS, SPS and PPS (ITU-T H.264, H.265)."""
_TRIAL_FRAMES = 3
_WORDS = 200


@dataclass(frozen=True, slots=True)
class Picture:
    """What is asked of an encoder."""

    width: int
    height: int
    """Of what is recorded, pixels."""
    rate: float
    """Hz."""
    bitrate: float
    """At most, Mbit/s, of H.264 and H.265."""
    jpeg_quality: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """One frame."""

    number: int
    key: bool
    data: bytes


class Encoder(Protocol):
    """Gives each frame back, sooner or later, in order."""

    name: str
    format: Format

    def encode(self, number: int, pixels: Pixels, key: bool) -> Iterator[Encoded]:
        """Take a frame, R, G, B, uint8, shape (height, width, 3); `key`: make it a keyframe."""


class Jpeg:
    """Each frame for itself, through Pillow."""

    name = "Pillow"
    format: Format = "jpeg"

    def __init__(self, picture: Picture) -> None:
        """Raises ImportError without Pillow."""
        from PIL import Image

        self._image: Any = Image
        self._picture = picture

    def encode(self, number: int, pixels: Pixels, key: bool) -> Iterator[Encoded]:
        """See `Encoder`."""
        image = self._image.fromarray(pixels)
        size = (self._picture.width, self._picture.height)
        if image.size != size:
            image = image.resize(size, self._image.Resampling.BOX)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=self._picture.jpeg_quality)
        yield Encoded(number, True, file.getvalue())


class Stream:
    """H.264 or H.265 as an Annex B byte stream, one frame a packet, through one of FFmpeg's encoders (PyAV)."""

    def __init__(self, name: str, form: Format, picture: Picture) -> None:
        """Raises ImportError without PyAV, and whatever PyAV raises for an encoder that does not work."""
        import av
        from av.video.frame import PictureType
        from av.video.reformatter import VideoReformatter

        self.name, self.format = name, form
        self._av: Any = av
        self._size = (picture.width, picture.height)
        self._reformatter: Any = VideoReformatter()
        self._kinds = (PictureType.NONE, PictureType.I)
        rate = Fraction(picture.rate).limit_denominator(1001)
        bits = round(picture.bitrate * 1e6)
        context: Any = av.CodecContext.create(name, "w")
        context.width, context.height = self._size
        context.pix_fmt = "yuv420p"
        context.framerate, context.time_base = rate, 1 / rate
        context.gop_size = max(1, round(KEYFRAMES_S * picture.rate))
        context.max_b_frames = 0
        context.thread_count = 1
        options = _OPTIONS.get(name, {})
        if options:  # constant quality, which a still picture makes cheap; the rate is only a limit
            context.options = {**options, "maxrate": str(bits), "bufsize": str(bits)}
        else:
            context.bit_rate = bits
        context.open()
        self._context = context

    def encode(self, number: int, pixels: Pixels, key: bool) -> Iterator[Encoded]:
        """See `Encoder`."""
        frame = self._av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame = self._reformatter.reformat(frame, *self._size, format="yuv420p")
        frame.pts = number
        frame.pict_type = self._kinds[key]
        for packet in self._context.encode(frame):
            yield Encoded(packet.pts, packet.is_keyframe, bytes(packet))


def open_encoder(codec: Format, picture: Picture, names: Sequence[str] | None = None) -> tuple[Encoder, list[str]]:
    """The best encoder that works, JPEG in the end, and why those before it do not. `names`: encoders to try in
    place of the usual ones. Raises ImportError when there is not even Pillow."""
    failures: list[str] = []
    for name in _HARDWARE_FIRST.get(codec, ()) if names is None else names:
        try:
            _try(Stream(name, codec, picture))
            return Stream(name, codec, picture), failures
        except Exception as error:  # whatever a driver's library comes up with: there are others
            failures.append(f"{name}: {getattr(error, 'strerror', None) or error}"[:_WORDS])
    return Jpeg(picture), failures


def _try(stream: Stream) -> None:
    """Encode some frames. Raises ValueError when they cannot be what a file begins with."""
    black = np.zeros((16, 16, 3), np.uint8)
    found = [encoded for n in range(_TRIAL_FRAMES) for encoded in stream.encode(n, black, key=True)]
    if not found:
        raise ValueError(f"no packet after {_TRIAL_FRAMES} frames")
    for encoded in found:
        missing = _PARAMETER_SETS[stream.format] - set(nal_types(encoded.data, stream.format))
        if not encoded.key or missing:
            raise ValueError("a keyframe that was asked for is none, or lacks its parameter sets")


def nal_types(data: bytes, form: Format) -> Iterator[int]:
    """The types of the NAL units in an Annex B byte stream: each begins with 0, 0, 1."""
    at = data.find(b"\x00\x00\x01")
    while 0 <= at < len(data) - 3:
        yield data[at + 3] & 0x1F if form == "h264" else data[at + 3] >> 1 & 0x3F
        at = data.find(b"\x00\x00\x01", at + 3)
