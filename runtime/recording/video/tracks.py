"""What the recorder's process does with encoded frames: writes them, and ends a file where the next can begin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from runtime.recording.quality.frame import FrameQuality
from runtime.recording.video.packets import Packet, PacketReader

_KEY_S = 0.5
"""A file that is over waits so long for the keyframes that the next one begins with."""


class FrameFile(Protocol):
    """Where frames go: `runtime.recording.segment.Segment`."""

    def add_frame(self, camera: str, packet: Packet) -> None:
        """Write one frame and its statistics."""


class VideoTracks:
    """The frames of all cameras."""

    def __init__(self, descriptors: Mapping[str, int]) -> None:
        """`descriptors`: each camera's shared memory, see `runtime.recording.video.packets`."""
        self._readers = {camera: PacketReader(descriptor) for camera, descriptor in descriptors.items()}
        self._asked_s: float | None = None

    def begin(self) -> None:
        """A new file: each camera's part of it begins with a keyframe."""
        self._asked_s = None
        for reader in self._readers.values():
            reader.begin()
            if not reader.before_key:
                reader.ask_key()

    def may_end(self, over: bool, now_s: float) -> bool:
        """Whether the file ends now. `over`: whether it should. Once it should, keyframes are asked for, and what
        comes before them is still for this file."""
        if not over:
            self._asked_s = None
        elif self._asked_s is None:
            self._asked_s = now_s
            for reader in self._readers.values():
                reader.ask_key()
        if self._asked_s is None:
            return False
        return now_s >= self._asked_s + _KEY_S or all(reader.before_key for reader in self._readers.values())

    def write(self, file: FrameFile, everything: bool = False) -> Iterator[tuple[str, FrameQuality]]:
        """Write the frames that are there and tell of each. `everything`: nothing comes after this file."""
        until_key = self._asked_s is not None and not everything
        for camera, reader in self._readers.items():
            for packet in reader.take(until_key):
                file.add_frame(camera, packet)
                yield camera, packet.quality

    def done(self) -> None:
        """All that was written is on the disk."""
        for reader in self._readers.values():
            reader.done()
