"""What must hold of `[safety.monitor]`: that its names exist, and that its limits are limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drivers.joint import Joint
from runtime.config.draft import Draft
from runtime.config.joint_limits import joint_limits
from runtime.config.models import Control, Safety
from runtime.config.monitors import (
    GripStallMonitor,
    JointMonitor,
    Monitors,
    OscillationMonitor,
    SensorAgeMonitor,
    TiltMonitor,
)
from runtime.config.paths import Place
from runtime.config.words import found, meant, one_of

AGE_PERIODS = 3
"""A reading is one or two periods old when all is well."""


def apply(draft: Draft) -> None:
    """Report every mistake."""
    if not draft.safety or not draft.safety.monitor or not draft.control:
        return
    monitors = draft.safety.monitor
    if None not in draft.joints:
        joints = [joint for joint in draft.joints if joint]
        for key in Monitors.model_fields:
            if isinstance(monitor := getattr(monitors, key), JointMonitor):
                _joints(draft, draft.safety, draft.control, key, monitor, joints)
    if monitors.tilt:
        _tilt(draft, monitors.tilt)
    if monitors.sensor_age:
        _sensor_age(draft, monitors.sensor_age)


def check_field(draft: Draft, place: Place, name: str, widths: Mapping[int, str], more: bool = False) -> int:
    """Report a field that no sensor has, or that has the wrong number of values. Returns how many it has, else 0.

    `widths`: the numbers of values that are expected, with what they are; `more`: others may follow.
    """
    fields = {
        f"{plan.options.name}.{key}": width
        for plan in draft.sensors
        if plan
        for key, width in plan.options.fields.items()
    }
    width = fields.get(name, 0)
    if not width:
        if None not in draft.sensors:
            draft.report(place, _unknown("sensor's field", name, fields))
        return 0
    if not (width in widths or (more and width >= min(widths))):
        expected = " or ".join(f"{count} ({what})" for count, what in widths.items())
        draft.report(place, f"found {name}, which has {width} values, expected {expected}; name another field")
        return 0
    return width


def check_order(
    draft: Draft, place: Place, near: float | None, stop: float | None, key: str, least: bool = False
) -> None:
    """Report a first limit that is not reached before the second one; `key`: what the second one is called."""
    if near is not None and stop is not None and (near <= stop if least else near >= stop):
        side = "more" if least else "less"
        draft.report(
            place, f"found {near:g}, expected {side} than {key} ({stop:g}), which it announces; change one of them"
        )


_NEITHER = "found neither warn nor stop, expected one of them at least; add it or remove the section"


def _joints(
    draft: Draft, safety: Safety, control: Control, key: str, monitor: JointMonitor, joints: Sequence[Joint]
) -> None:
    place: Place = ("safety", "monitor", key)
    names = [joint.name for joint in joints]
    for number, name in enumerate(monitor.only or ()):
        if name not in names:
            draft.report((*place, "only", number), _unknown("joint", name, names))
        elif key == "torque_error" and next(joint for joint in joints if joint.name == name).kp is None:
            draft.report(
                (*place, "only", number),
                f"found {found(name)}, which has no kp, expected a joint in MIT mode; remove it",
            )
    for name in monitor.joints:
        if name not in names:
            draft.report((*place, "joints", name), _unknown("joint", name, names))
        elif monitor.only and name not in monitor.only:
            draft.report((*place, "joints", name), "found limits of a joint that is not in `only`; add it there")
    if isinstance(monitor, GripStallMonitor) and not monitor.only:
        draft.report((*place, "only"), "found nothing, expected the grippers' joints; name them")
    limits = joint_limits(key, safety, control, joints)
    if not limits:
        draft.report(
            place, "found no joint with a limit, expected warn or stop; add one of them or remove the section"
        )
    period_s = 1 / control.rate
    for name, limit in limits.items():
        own = monitor.joints.get(name)
        warn_place: Place = (*place, "joints", name) if own else (*place, "warn")
        stop_place: Place = (*place, "joints", name, "stop") if own and own.stop else (*place, "stop")
        check_order(draft, warn_place, limit.warn, limit.stop, f"stop of {name}", least=key == "voltage")
        if key == "joint_age" and limit.stop is not None and limit.stop < AGE_PERIODS * period_s:
            draft.report(
                stop_place,
                f"found {limit.stop:g}, expected at least {AGE_PERIODS} periods of the loop "
                f"({AGE_PERIODS * period_s:g} s): a reading is one or two old when all is well; raise it",
            )
        highest = max(limit.warn or 0.0, limit.stop or 0.0)
        stall_s = safety.stall_s(period_s)
        if isinstance(monitor, OscillationMonitor) and highest * stall_s > 1:
            draft.report(
                stop_place,
                f"found {highest:g}, expected at most {1 / stall_s:g} Hz: the joints are looked at every "
                f"{stall_s / 4:g} s (a quarter of safety.stall), and what swings faster looks slower; lower it",
            )


def _tilt(draft: Draft, tilt: TiltMonitor) -> None:
    place: Place = ("safety", "monitor", "tilt")
    check_field(
        draft,
        (*place, "orientation"),
        tilt.orientation,
        {4: "a quaternion w, x, y, z", 3: "a direction of gravity"},
    )
    check_order(draft, (*place, "warn"), tilt.warn, tilt.stop, "stop")
    if tilt.warn is None and tilt.stop is None:
        draft.report(place, _NEITHER)


def _sensor_age(draft: Draft, ages: SensorAgeMonitor) -> None:
    place: Place = ("safety", "monitor", "sensor_age")
    known = [plan.options.name for plan in draft.sensors if plan]
    for side, limits in (("warn", ages.warn), ("stop", ages.stop)):
        for name in limits:
            if name not in known and None not in draft.sensors:
                draft.report((*place, side, name), _unknown("sensor", name, known))
    for name, warn in ages.warn.items():
        check_order(draft, (*place, "warn", name), warn, ages.stop.get(name), f"stop.{name}")
    if not (ages.warn or ages.stop):
        draft.report(place, _NEITHER)


def _unknown(kind: str, name: str, known: Sequence[str] | Mapping[str, int]) -> str:
    return f"found the unknown {kind} {found(name)}, expected {one_of(known)}; {meant(name, known, 'correct it')}"
