"""Recorded camera frames decoded, and written again as MP4 at a fixed rate, by PyAV (extra `export`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
from av.video.frame import PictureType, VideoFrame
from mcap_ros2.decoder import DecoderFactory

from drivers.state import Ints
from runtime.recording.reader import CAMERAS, Recording, RecordingError

_CODECS = {"h264": "h264", "h265": "hevc", "jpeg": "mjpeg", "jpg": "mjpeg"}
"""By `format` of the recorded messages."""
_ENCODER = "libx264"
# As LeRobot encodes: a key frame every other frame, for samples at random places.
_OPTIONS = {"crf": "23", "g": "2", "bf": "0", "preset": "veryfast"}


def decode(recordings: Sequence[Recording], camera: str) -> Iterator[tuple[int, VideoFrame]]:
    """All frames of a camera, each with its number, counted through all segments. Raises RecordingError.

    A frame that cannot be decoded is missing.
    """
    before = 0
    for recording in recordings:
        if not recording.counts.get(CAMERAS + camera):
            continue
        codec: Any = None
        number = before - 1
        # Each segment begins with a key frame.
        for number, (data, kind) in enumerate(_packets(recording, camera), before):
            if codec is None:
                codec = av.CodecContext.create(kind, "r")
                codec.thread_count = 1
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            yield from _numbered(codec, packet)
        if codec is not None:
            yield from _numbered(codec, None)
        before = number + 1


def select(frames: Iterator[tuple[int, VideoFrame]], numbers: Ints) -> Iterator[VideoFrame]:
    """For each number (ascending) its frame; for a missing one the next, after the last one the last."""
    wanted = iter(numbers.tolist())
    want = next(wanted, None)
    frame = None
    for number, frame in frames:
        while want is not None and want <= number:
            yield frame
            want = next(wanted, None)
        if want is None:
            return
    while want is not None and frame is not None:
        yield frame
        want = next(wanted, None)


def _packets(recording: Recording, camera: str) -> Iterator[tuple[bytes, str]]:
    topic = CAMERAS + camera
    decoder = DecoderFactory().decoder_for("cdr", recording.schemas[topic])
    if decoder is None:
        raise RecordingError(f"{recording.path}: found {topic} in an unknown encoding, expected CDR with a schema")
    for _, data in recording.raw(topic):
        message: Any = decoder(data)
        kind = _CODECS.get(message.format.split(";")[0].strip())
        if kind is None:
            raise RecordingError(
                f"{recording.path}: found format {message.format!r} in {topic}, expected {', '.join(_CODECS)}"
            )
        yield bytes(message.data), kind


def _numbered(codec: Any, packet: Any) -> Iterator[tuple[int, VideoFrame]]:
    try:
        for frame in codec.decode(packet):
            yield frame.pts, frame
    except av.error.InvalidDataError:
        return


class VideoFile:
    """An MP4 of a fixed rate, H.264."""

    def __init__(self, path: Path, width: int, height: int, fps: int) -> None:
        """`width`, `height`: even, pixels."""
        self.count = 0
        """Frames so far."""
        self.bytes = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._tick = Fraction(1, fps)
        self._file = cast(Any, av.open(str(path), "w", format="mp4"))
        self._stream = self._file.add_stream(_ENCODER, rate=fps, options=dict(_OPTIONS))
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = self._tick

    def add(self, frame: VideoFrame) -> None:
        """Write the next frame, whatever its size."""
        fitted = frame.reformat(self._stream.width, self._stream.height, "yuv420p")
        fitted.pts, fitted.time_base = self.count, self._tick
        fitted.pict_type = PictureType.NONE  # else the encoder would repeat what the recording did
        self._write(self._stream.encode(fitted))
        self.count += 1

    def close(self) -> None:
        """Write what is left."""
        self._write(self._stream.encode(None))
        self._file.close()

    def _write(self, packets: Any) -> None:
        for packet in packets:
            self.bytes += packet.size
            self._file.mux(packet)
