"""The models of `[cameras.NAME]`, one for each type."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from drivers.joint import Name, Options


class Camera(Options):
    """A camera. Each is captured in a process of its own; policies see it through `[[policy.observation]]`."""

    type: str
    """What the frames come from: `v4l2`, `gstreamer`, `video` or `emulated`."""
    width: int = Field(ge=8, le=8192)
    """Width of a frame, pixels."""
    height: int = Field(ge=8, le=8192)
    """Height of a frame, pixels."""
    rate: float = Field(gt=0, le=1000)
    """Frames per second, Hz."""
    max_age: float = Field(default=0.25, gt=0, le=60)
    """A policy that sees a frame of this camera is not asked while the newest good one is older than this, s."""
    stalled: float = Field(default=5.0, ge=2)
    """So many periods without a new frame are a stall."""
    frozen: float = Field(default=2.0, ge=0)
    """So long (s) the same picture to the last bit is a frozen camera; 0 = never, as for `video` and `emulated`
    unless it is given: theirs may well stand still."""
    black: float = Field(default=1.0, ge=0)
    """So long (s) a black picture is a black camera; 0 = never."""
    python: str | None = None
    """Python interpreter (3.9 or newer, with numpy) of the camera's process, as a path or a name in PATH. Left
    out: the daemon's own."""


class V4l2Camera(Camera):
    """A camera of the kernel (Video4Linux), through linuxpy and PyAV (extra `cameras`). Size, rate and format must
    be among those that `v4l2-ctl --list-formats-ext` shows."""

    type: Literal["v4l2"]
    """A camera of the kernel."""
    device: Path
    """Its device; the links in `/dev/v4l/by-id` and `by-path` stay the same over a restart."""
    pixel_format: Literal["MJPG", "YUYV", "UYVY", "NV12", "RGB3", "BGR3", "GREY"] = "YUYV"
    """What the camera sends. `MJPG` is compressed: more frames over the same cable, and more work."""
    exposure: float | None = Field(default=None, gt=0, le=10)
    """Time that each frame is exposed, s. Left out: automatic."""
    controls: dict[Name, int] = Field(default_factory=dict)
    """Other settings by their V4L2 names: `{ gain = 20, white_balance_automatic = 0 }`."""


class GStreamerCamera(Camera):
    """The end of a GStreamer pipeline, through PyGObject, which comes with the system: `python` names that."""

    type: Literal["gstreamer"]
    """A pipeline."""
    pipeline: str = Field(min_length=1)
    """The pipeline up to the frames, as for `gst-launch-1.0`, with exposure and the like as properties of its
    elements; conversion to R, G, B in the camera's size and rate is added."""


class VideoCamera(Camera):
    """A video file in place of a camera, over and over at its own rate, through PyAV (extra `cameras`)."""

    type: Literal["video"]
    """A video file."""
    file: Path
    """The file; its frames are made to fit the size. Its own rate must be `rate`."""
    frozen: float = Field(default=0.0, ge=0)
    """As of every camera."""


class EmulatedCamera(Camera):
    """A camera that renders the emulated robot (extra `sim`), without a display."""

    type: Literal["emulated"]
    """A camera of the robot in simulation."""
    camera: str = Field(min_length=1)
    """Camera of the model in `[emulated]`."""
    frozen: float = Field(default=0.0, ge=0)
    """As of every camera."""


CAMERAS: Mapping[str, type[Camera]] = {
    "v4l2": V4l2Camera,
    "gstreamer": GStreamerCamera,
    "video": VideoCamera,
    "emulated": EmulatedCamera,
}
"""By the value of `type`."""
