"""The section `[recording.video]`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from drivers.joint import Name, Options


class VideoStream(Options):
    """The same for one camera; what is left out is as for all of them."""

    enabled: bool = True
    """Record the frames."""
    codec: Literal["h264", "h265", "jpeg"] = "h264"
    """`h264` and `h265`: by the machine's hardware where it can, else in software; `jpeg`: each frame for itself.
    Without an encoder that works it is JPEG."""
    rate: float | None = Field(default=None, gt=0, le=1000)
    """Frames per second, Hz. Left out: all that the camera gives."""
    width: int | None = Field(default=None, ge=16, le=8192)
    """Width of what is recorded, pixels; H.264 and H.265 make it even. Left out: the camera's."""
    height: int | None = Field(default=None, ge=16, le=8192)
    """Height of what is recorded, pixels; as the width. Left out: the camera's."""
    bitrate: float = Field(default=4.0, gt=0, le=200)
    """H.264 and H.265 take at most this, Mbit/s; less where the picture is quiet."""
    jpeg_quality: int = Field(default=85, ge=1, le=95)
    """Of JPEG."""

    @model_validator(mode="after")
    def _has_a_whole_size(self) -> VideoStream:
        if (self.width is None) != (self.height is None):
            raise ValueError("found one of width and height, expected both or none; add the other one")
        return self


class Video(VideoStream):
    """How the frames of all cameras are recorded (extra `cameras`)."""

    camera: dict[Name, VideoStream] = Field(default_factory=dict)
    """What is different for one camera: `[recording.video.camera.NAME]`."""

    def of(self, camera: str) -> VideoStream:
        """What holds for one camera."""
        general = self.model_dump(exclude={"camera"})
        own = self.camera[camera].model_dump(exclude_unset=True) if camera in self.camera else {}
        return VideoStream(**{**general, **own})
