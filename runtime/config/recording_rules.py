"""What must hold between `[recording]` and the rest of the robot."""

from __future__ import annotations

from importlib.util import find_spec

from runtime.config.draft import Draft
from runtime.config.models import Recording
from runtime.config.words import found, meant, one_of


def apply(draft: Draft) -> None:
    """Report the mistakes."""
    if draft.recording:
        _success_sensor(draft, draft.recording)
        _video(draft, draft.recording)


def _video(draft: Draft, recording: Recording) -> None:
    place = ("recording", "video")
    for name in recording.video.camera:
        if name not in draft.cameras:
            draft.report(
                (*place, "camera", name),
                f"found an unknown camera, expected {one_of(draft.cameras)}; "
                + meant(name, draft.cameras, "correct it or add the camera"),
            )
    recorded = {name: recording.video.of(name) for name in draft.cameras}
    codecs = {video.codec for video in recorded.values() if video.enabled}
    if not recording.enabled or not codecs:
        return
    needed = ("PIL",) if codecs == {"jpeg"} else ("av", "PIL")  # JPEG is what is left when nothing else works
    missing = [package for package in needed if find_spec(package) is None]
    if missing:
        draft.report(
            place,
            f"found no package {' and '.join(missing)}, expected it because cameras are recorded; install the "
            "extra `cameras` (pip install 'reflexd[cameras]'), or set recording.video.enabled = false",
        )
    for name, video in recorded.items():
        camera = draft.cameras[name]
        if camera is not None and video.rate is not None and video.rate > camera.rate:
            own = (*place, "camera", name) if name in recording.video.camera else place
            draft.report(
                (*own, "rate"),
                f"found {video.rate:g}, expected at most cameras.{name}.rate ({camera.rate:g} Hz); lower it",
            )


def _success_sensor(draft: Draft, recording: Recording) -> None:
    success = recording.quality.success
    if success is None or None in draft.sensors:
        return
    widths = {
        f"{plan.options.name}.{field}": width
        for plan in draft.sensors
        if plan
        for field, width in plan.options.fields.items()
    }
    place = ("recording", "quality", "success")
    if success.sensor not in widths:
        draft.report(
            (*place, "sensor"),
            f"found {found(success.sensor)}, expected a sensor's field, {one_of(widths)}; correct it",
        )
    elif success.element >= (width := widths[success.sensor]):
        draft.report(
            (*place, "element"),
            f"found {success.element}, expected less than {width}, which is how many values {success.sensor} has; "
            "correct it",
        )
