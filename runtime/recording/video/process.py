"""The process that encodes a camera's frames: takes them from the camera's memory, leaves them for the recorder.

A frame that comes while another one is encoded may be missed. It is counted, and nothing waits for it.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import select
import signal
import socket
from collections.abc import Mapping
from typing import Any

from runtime.child.begin import MEMORY, SOCKET, begin
from runtime.policy.worker.frames import FrameReader
from runtime.recording.quality.frame import FrameGauge, FrameQuality
from runtime.recording.video.encoders import Picture, open_encoder
from runtime.recording.video.packets import Packet, PacketWriter

PACKETS = MEMORY + 1
"""Descriptor of the encoded frames."""
_NICE = 5
"""Whoever moves the robot goes first."""
_LOOKS = 8
"""Looks for a new frame in one period of the camera."""
# linux/prctl.h
_PR_SET_PDEATHSIG = 1


def main(argument: str) -> None:
    """Encode until the daemon ends, or closes its end of the socket."""
    settings: dict[str, Any] = json.loads(argument)
    begin("reflexd-video", settings["cpus"])
    # The closed socket ends it between two frames; this ends one that is stuck in an encoder.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    os.nice(_NICE)
    with socket.socket(fileno=SOCKET) as channel:
        encoding = Encoding(settings, FrameReader(MEMORY), PacketWriter(PACKETS))
        channel.send(json.dumps({"encoder": encoding.name, "failures": encoding.failures}).encode())
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        while not poll.poll(max(1, round(1e3 / settings["camera_rate"] / _LOOKS))):
            encoding.look()


class Encoding:
    """From one ring to the other."""

    def __init__(self, settings: Mapping[str, Any], frames: FrameReader, packets: PacketWriter) -> None:
        """`settings`: `codec`, `picture` (see `Picture`) and `camera_rate`, Hz."""
        picture = Picture(**settings["picture"])
        self._encoder, self.failures = open_encoder(settings["codec"], picture)
        """Why better encoders are not used."""
        self.name = f"{self._encoder.format} by {self._encoder.name}"
        self._frames, self._packets = frames, packets
        self._pace = Pace(picture.rate, settings["camera_rate"])
        self._gauge = FrameGauge()
        self._waiting: dict[int, FrameQuality] = {}
        """Statistics of the frames that the encoder has not given back yet."""
        self._seen = frames.newest()[0]
        self._key = True

    def look(self) -> None:
        """Encode the newest frame, if there is one."""
        frame = self._frames.latest(self._seen)
        if frame is None:
            return
        self._packets.drop(frame.number - self._seen - 1)
        self._seen = frame.number
        if not self._pace.takes(frame.mono_ns):
            return
        self._key = self._packets.key_wanted or self._key
        self._waiting[frame.number] = self._gauge.measure(frame.number, frame.mono_ns, frame.pixels)
        for encoded in self._encoder.encode(frame.number, frame.pixels, self._key):
            quality = self._waiting.pop(encoded.number)
            self._packets.write(Packet(quality, self._encoder.format, encoded.key, encoded.data))
        self._key = False


class Pace:
    """Which frames of a camera are recorded, by the times of their capture."""

    def __init__(self, rate: float, camera_rate: float) -> None:
        """`rate`: of the frames that are wanted, Hz; as high as the camera's for all of them."""
        self._period_ns = 1e9 / rate
        # Cameras are not that regular: half a frame early is on time.
        self._early_ns = 1e9 / camera_rate / 2 if rate < camera_rate else math.inf
        self._due_ns = -math.inf

    def takes(self, mono_ns: int) -> bool:
        """Whether the frame of this time is one."""
        early_ns = self._due_ns - mono_ns
        if early_ns > self._early_ns:
            return False
        late = early_ns < -self._period_ns  # there was a pause, or it is the first one
        self._due_ns = (mono_ns if late else self._due_ns) + self._period_ns
        return True
