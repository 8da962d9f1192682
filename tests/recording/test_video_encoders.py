from __future__ import annotations

import io
import json
import math
from typing import Any

import av
import numpy as np
import pytest
from mcap_ros2._dynamic import generate_dynamic
from PIL import Image

from runtime.recording.quality.frame import FrameQuality, Pixels
from runtime.recording.video import messages
from runtime.recording.video.encoders import Encoded, Encoder, Picture, Stream, nal_types, open_encoder
from runtime.recording.video.packets import Format
from runtime.recording.video.process import Pace

PICTURE = Picture(width=64, height=48, rate=30.0, bitrate=4.0, jpeg_quality=90)
SOFTWARE = {"h264": "libx264", "h265": "libx265"}


def picture(number: int, width: int = 64, height: int = 48) -> Pixels:
    """A soft wave that wanders: what a codec is made for."""
    x, y = np.meshgrid(np.linspace(0, 6, width), np.linspace(0, 6, height))
    waves = [np.sin(x + 0.2 * number), np.cos(y - 0.1 * number), np.sin(x + y)]
    return (127 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def encode(encoder: Encoder, first: int, count: int, keys: tuple[int, ...] = ()) -> list[Encoded]:
    return [one for n in range(first, first + count) for one in encoder.encode(n, picture(n), n in keys)]


def decode(form: Format, packets: list[Encoded]) -> list[Pixels]:
    decoder: Any = av.CodecContext.create({"h264": "h264", "h265": "hevc"}[form], "r")
    found = [frame for packet in packets for frame in decoder.decode(av.Packet(packet.data))]
    return [frame.to_ndarray(format="rgb24") for frame in [*found, *decoder.decode(None)]]


@pytest.mark.parametrize("form", ["h264", "h265"])
def test_any_keyframe_can_be_begun_with_and_every_packet_is_one_frame(form: Format) -> None:
    encoder = Stream(SOFTWARE[form], form, PICTURE)
    packets = encode(encoder, 1, 12, keys=(1, 8))
    assert [packet.number for packet in packets] == list(range(1, 13)), "one out for one in: nothing is held back"
    assert [packet.number for packet in packets if packet.key] == [1, 8]
    sets = {7, 8} if form == "h264" else {32, 33, 34}
    for packet in packets:
        assert packet.key == (sets <= set(nal_types(packet.data, form)))
    for part in (packets, packets[7:]):
        pictures = decode(form, part)
        assert len(pictures) == len(part)
        for packet, shown in zip(part, pictures, strict=True):
            assert np.abs(shown.astype(int) - picture(packet.number)).mean() < 8


def test_keyframes_come_every_two_seconds_by_themselves() -> None:
    packets = encode(Stream("libx264", "h264", Picture(64, 48, 5.0, 4.0, 90)), 1, 25)
    assert [packet.number for packet in packets if packet.key] == [1, 11, 21]


def test_the_size_is_the_one_that_was_asked_for() -> None:
    (packet,) = Stream("libx264", "h264", Picture(32, 24, 30.0, 4.0, 90)).encode(1, picture(1), True)
    (shown,) = decode("h264", [packet])
    assert shown.shape == (24, 32, 3)
    assert np.abs(shown.astype(int) - picture(1)[::2, ::2]).mean() < 12


def test_jpeg() -> None:
    encoder, failures = open_encoder("jpeg", Picture(32, 24, 30.0, 4.0, 90))
    (packet,) = encoder.encode(4, picture(4), False)
    assert (packet.number, packet.key, failures) == (4, True, [])
    shown = np.asarray(Image.open(io.BytesIO(packet.data)))
    assert np.abs(shown.astype(int) - picture(4)[::2, ::2]).mean() < 12


def test_encoders_that_do_not_work_are_passed_over_and_named() -> None:
    encoder, failures = open_encoder("h264", PICTURE, ["none_such", "h264_v4l2m2m", "libx264", "libx265"])
    assert encoder.name == "libx264"
    assert [failure.split(":")[0] for failure in failures] == ["none_such", "h264_v4l2m2m"]
    assert encode(encoder, 1, 1)[0].key, "what was tried is not what is used"


def test_jpeg_is_the_last_resort() -> None:
    encoder, failures = open_encoder("h264", PICTURE, ["none_such"])
    assert (encoder.format, len(failures)) == ("jpeg", 1)


def test_an_encoder_whose_keyframes_lack_their_parameter_sets_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    encoded = Stream.encode

    def without(self: Stream, number: int, pixels: Pixels, key: bool) -> Any:
        for one in encoded(self, number, pixels, key):
            yield Encoded(one.number, one.key, one.data[one.data.rindex(b"\x00\x00\x01") :])

    monkeypatch.setattr(Stream, "encode", without)
    encoder, failures = open_encoder("h264", PICTURE, ["libx264"])
    assert encoder.format == "jpeg"
    assert "lacks its parameter sets" in failures[0]


def test_types_of_nal_units() -> None:
    data = b"\x00\x00\x00\x01\x67abc\x00\x00\x01\x68\x00\x00\x01\x65" + b"x" * 9 + b"\x00\x00\x01"
    assert list(nal_types(data, "h264")) == [7, 8, 5]
    assert list(nal_types(b"\x00\x00\x01\x40\x01\x00\x00\x01\x26\x01", "h265")) == [32, 19]


@pytest.mark.parametrize("form", ["h264", "h265", "jpeg"])
@pytest.mark.parametrize("size", range(5))
@pytest.mark.parametrize("camera", ["a", "wrist", "a_camera"])
def test_messages_are_what_ros_decodes(form: Format, size: int, camera: str) -> None:
    name, definition = messages.schema(form)
    decoder = generate_dynamic(name, definition)[name]
    data = bytes(range(size))
    message: Any = decoder(messages.frame_message(camera, form, 1_700_000_000_123_456_789, data))
    head = message.header if form == "jpeg" else message
    stamp = head.stamp if form == "jpeg" else head.timestamp
    assert (stamp.sec, stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert (head.frame_id, message.format, bytes(message.data)) == (camera, form, data)


def test_statistics_as_json() -> None:
    quality = FrameQuality(3, 9, 1.23456, 0.0, 0.5, 7.0, 2.0)
    told = json.loads(messages.quality_message(quality))
    assert told == {
        "number": 3,
        "mono_ns": 9,
        "brightness": 1.2346,
        "dark": 0.0,
        "bright": 0.5,
        "sharpness": 7.0,
        "change": 2.0,
    }
    first = FrameQuality(3, 9, 1.0, 0.0, 0.5, 7.0, math.nan)
    assert "change" not in json.loads(messages.quality_message(first))
    assert set(json.loads(messages.QUALITY_SCHEMA)["properties"]) == set(told)


@pytest.mark.parametrize(("rate", "taken"), [(30, 60), (60, 60), (15, 30), (20, 40), (10, 20), (1, 2)])
def test_the_pace_is_that_of_the_capture_times(rate: float, taken: int) -> None:
    rng = np.random.default_rng(1)
    times = [round(1e9 * (n / 30 + rng.uniform(-0.002, 0.002))) for n in range(60)]
    pace = Pace(rate, 30.0)
    kept = [time for time in times if pace.takes(time)]
    assert len(kept) == taken
    if rate in (15, 10):
        assert np.ptp(np.diff(kept)) < 9e6


def test_the_pace_goes_on_after_a_pause() -> None:
    pace = Pace(10, 30.0)
    times = [0, *range(5_000_000_000, 6_000_000_000, 33_333_333)]
    assert sum(pace.takes(time) for time in times) == 12
