"""Frames as ROS 2 messages in CDR, which Foxglove shows without a plug-in, and their statistics as JSON."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import asdict

from runtime.recording.quality.frame import FrameQuality
from runtime.recording.video.packets import Format

_VIDEO_DEFINITION = """\
builtin_interfaces/Time timestamp
string frame_id
uint8[] data
string format
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
_IMAGE_DEFINITION = """\
std_msgs/Header header
string format
uint8[] data
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
QUALITY_SCHEMA = json.dumps(
    {
        "type": "object",
        "title": "reflexd.FrameQuality",
        "properties": {
            "number": {"type": "integer"},
            "mono_ns": {"type": "integer"},
            **{name: {"type": "number"} for name in ("brightness", "dark", "bright", "sharpness", "change")},
        },
    }
)
_LITTLE_ENDIAN = b"\x00\x01\x00\x00"


def schema(form: Format) -> tuple[str, str]:
    """Name and ROS 2 definition of a frame's message."""
    if form == "jpeg":
        return "sensor_msgs/msg/CompressedImage", _IMAGE_DEFINITION
    return "foxglove_msgs/msg/CompressedVideo", _VIDEO_DEFINITION


def frame_message(camera: str, form: Format, wall_ns: int, data: bytes) -> bytes:
    """A frame captured at `wall_ns`, CLOCK_REALTIME, as the message of its format."""
    stamp = struct.pack("<iI", *divmod(wall_ns, 1_000_000_000))
    head = _padded(stamp + _text(camera))
    if form == "jpeg":
        return _LITTLE_ENDIAN + _padded(head + _text(form)) + struct.pack("<I", len(data)) + data
    return _LITTLE_ENDIAN + _padded(head + struct.pack("<I", len(data)) + data) + _text(form)


def quality_message(quality: FrameQuality) -> bytes:
    """JSON has no NaN: the first frame after a start of the encoder has no `change`."""
    fields = {name: round(value, 4) for name, value in asdict(quality).items() if not math.isnan(value)}
    return json.dumps(fields).encode()


def _text(text: str) -> bytes:
    encoded = text.encode() + b"\0"
    return struct.pack("<I", len(encoded)) + encoded


def _padded(body: bytes) -> bytes:
    """Up to where a number of 4 bytes may begin."""
    return body + bytes(-len(body) % 4)
