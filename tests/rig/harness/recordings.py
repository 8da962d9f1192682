"""Reads what is left of a recording."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from PIL import Image

from runtime.spool.recover import recover


def intact_bytes(path: Path) -> int:
    """Where the last whole chunk of a segment ends; of a whole one its size."""
    data = path.read_bytes()
    return len(data) - recover(BytesIO(data)).cut


def ticks(path: Path) -> list[tuple[int, int]]:
    """The number and the time (CLOCK_MONOTONIC, ns) of each tick in a whole segment."""
    with path.open("rb") as file:
        found = make_reader(file, validate_crcs=True).iter_messages(topics=["/ticks"])
        return [(int.from_bytes(message.data[4:12], "little"), message.publish_time) for _, _, message in found]


def pictures(path: Path, camera: str) -> list[tuple[int, npt.NDArray[np.uint8]]]:
    """The time (CLOCK_MONOTONIC, ns) and R, G, B of each frame in a whole segment, recorded as JPEG."""
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        found = reader.iter_decoded_messages(topics=[f"/cameras/{camera}"])
        return [
            (message.publish_time, np.asarray(Image.open(BytesIO(bytes(frame.data))).convert("RGB")))
            for _, _, message, frame in found
        ]
