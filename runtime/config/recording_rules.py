"""What must hold between `[recording]` and the rest of the robot."""

from __future__ import annotations

from runtime.config.draft import Draft
from runtime.config.models import Recording
from runtime.config.words import found, one_of


def apply(draft: Draft) -> None:
    """Report the mistakes."""
    if draft.recording:
        _success_sensor(draft, draft.recording)


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
