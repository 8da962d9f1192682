"""Segments as the recorder writes them, made of numbers that a test can predict."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from mcap.writer import Writer
from mcap_ros2.writer import serialize_dynamic

from runtime.recording.reader import parse
from runtime.recording.trace import TraceLayout

JOINTS = ("Waist", "elbow")
LAYOUT = TraceLayout(JOINTS, {"imu": {"gyro": 3}}, ["vx"])
CONFIG = """
[robot]
name = "maker"
[control]
rate = 100.0
[policy]
rate = 50.0
[[joint]]
name = "Waist"
[[joint]]
name = "elbow"
"""
WALL_NS = 1_700_000_000 * 10**9
"""Wall time at CLOCK_MONOTONIC 0."""
WIDTH, HEIGHT = 64, 48
_VIDEO = """builtin_interfaces/Time timestamp
string frame_id
uint8[] data
string format
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""


def ticks(first: int, count: int, period_ns: int = 10_000_000, mode: int = 3) -> Any:
    """Tick k: position of joint j is k + j / 10, plan 1000 more, command 2000 more; measured 1 ms before."""
    records = np.zeros(count, parse(LAYOUT.definition)[0])
    number = np.arange(first, first + count)
    records["tick"], records["mono_ns"], records["mode"], records["gate"] = number, number * period_ns, mode, 1
    for joint in range(len(JOINTS)):
        one = records["joints"][:, joint]
        one["position"], one["velocity"] = number + joint / 10, number + joint / 10 + 100
        one["plan"], one["command"] = number + joint / 10 + 1000, number + joint / 10 + 2000
        one["age_s"] = 1e-3
    records["imu_gyro"] = number[:, None] + np.array([0.0, 0.25, 0.5])
    records["command_vx"] = 0.5
    if "intervention" in (records.dtype.names or ()):
        records["intervention"] = mode == 4
    return records


def chunk(t0_ns: int, arrived_ns: int, actions: Any, **more: Any) -> dict[str, Any]:
    about = {"t0_mono_ns": t0_ns, "arrived_mono_ns": arrived_ns, "latency_s": (arrived_ns - t0_ns) / 1e9}
    seam = {"by": "policy", "seam": "blend", "seam_mono_ns": arrived_ns, "seam_before_rad": 0.0}
    rest = {"seam_after_rad": 0.0, "seam_fade_s": 0.0, "task": "", "prompt": "", "first": 0}
    return {**about, **seam, **rest, "actions": np.asarray(actions).tolist(), **more}


def segment(
    path: Path,
    records: Any,
    *,
    config: str = CONFIG,
    episode: dict[str, str] | None = None,
    events: Sequence[tuple[int, str]] = (),
    chunks: Sequence[dict[str, Any]] = (),
    cameras: dict[str, Sequence[int]] | None = None,
    definition: str = LAYOUT.definition,
) -> Path:
    """`events`: time and name. `cameras`: times of the frames of each; frame i is grey, as bright as `grey(i)`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=4096)
        writer.start(profile="", library="test")

        def channel(topic: str, name: str, encoding: str, schema: str, kind: str) -> int:
            schema_id = writer.register_schema(name=name, encoding=encoding, data=schema.encode())
            return int(writer.register_channel(topic, message_encoding=kind, schema_id=schema_id))

        def add(where: int, mono_ns: int, data: bytes) -> None:
            writer.add_message(where, log_time=WALL_NS + mono_ns, publish_time=mono_ns, data=data)

        tick = channel("/ticks", "reflexd/Tick", "ros2msg", definition, "cdr")
        logs = channel("/events", "foxglove.Log", "jsonschema", "{}", "json")
        plans = channel("/chunks", "reflexd.Chunk", "jsonschema", "{}", "json")
        writer.add_metadata("reflexd", {"robot": "maker", "config": config, "reflexd": "1"})
        for record in records:
            add(tick, int(record["mono_ns"]), b"\x00\x01\x00\x00" + record.tobytes())
        for mono_ns, name in events:
            about = {"level": 4, "name": name, "message": name, "mono_ns": mono_ns, "fields": {"a": 1}}
            add(logs, mono_ns, json.dumps(about).encode())
        for each in chunks:
            add(plans, each["arrived_mono_ns"], json.dumps(each).encode())
        for name, times in (cameras or {}).items():
            kind = "foxglove_msgs/msg/CompressedVideo"
            where = channel(f"/cameras/{name}", kind, "ros2msg", _VIDEO, "cdr")
            for mono_ns, data in zip(times, _encoded(len(times)), strict=True):
                add(where, mono_ns, message(data))
        if episode:
            writer.add_metadata("episode", episode)
        writer.finish()
    return path


def grey(number: int) -> int:
    return 40 + number * 5 % 160


def message(data: bytes, kind: str = "h264") -> bytes:
    stamp = {"sec": 0, "nanosec": 0}
    encode = serialize_dynamic("foxglove_msgs/msg/CompressedVideo", _VIDEO)["foxglove_msgs/msg/CompressedVideo"]
    return bytes(encode({"timestamp": stamp, "frame_id": "front", "data": data, "format": kind}))


def _encoded(count: int) -> list[bytes]:
    """One packet for each frame, a key frame every ten, no B-frames: as the contract of the video topic has it."""
    codec: Any = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    codec.framerate, codec.options = 30, {"bf": "0", "g": "10", "tune": "zerolatency", "x264-params": "annexb=1"}
    packets = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), grey(number), np.uint8), format="rgb24")
        frame.pts = number
        packets += [bytes(packet) for packet in codec.encode(frame)]
    packets += [bytes(packet) for packet in codec.encode(None)]
    assert len(packets) == count
    return packets
