"""What must hold of `[safety.geofence]` and `[safety.protective_field]`."""

from __future__ import annotations

from runtime.config.draft import Draft
from runtime.config.monitor_rules import check_field, check_order
from runtime.config.paths import Place
from runtime.config.zones import Geofence, ProtectiveField, Zone
from safety.zones.polygon import flaw

_ROUNDING = 1e-3
"""Angles in a config have a few digits, rad."""


def apply(draft: Draft) -> None:
    """Report every mistake."""
    if not draft.safety:
        return
    for name, fence in draft.safety.geofence.items():
        _fence(draft, ("safety", "geofence", name), fence)
    for name, field in draft.safety.protective_field.items():
        _field(draft, ("safety", "protective_field", name), field)


def _fence(draft: Draft, place: Place, fence: Geofence) -> None:
    check_field(draft, (*place, "pose"), fence.pose, {2: "x, y"}, more=True)
    if problem := flaw(fence.border):
        draft.report((*place, "border"), f"{problem}; correct the vertices")
    _zone(draft, place, fence, fence.slow, fence.stop)


def _field(draft: Draft, place: Place, field: ProtectiveField) -> None:
    count = check_field(draft, (*place, "ranges"), field.ranges, {1: "ranges"}, more=True)
    if not field.angle_increment:
        draft.report((*place, "angle_increment"), "found 0, expected the angle between two rays; change it")
    elif field.sector and count:
        ends = sorted((field.angle_min, field.angle_min + (count - 1) * field.angle_increment))
        low, high = field.sector
        if not ends[0] - _ROUNDING <= low < high <= ends[1] + _ROUNDING:
            draft.report(
                (*place, "sector"),
                f"found {low:g} ... {high:g} rad, expected a part of the {ends[0]:g} ... {ends[1]:g} rad that the "
                f"{count} rays of {field.ranges} cover; change it, or make two fields across the scan's end",
            )
    _zone(draft, place, field, field.slow, field.stop)


def _zone(draft: Draft, place: Place, zone: Zone, slow: float | None, stop: float) -> None:
    check_order(draft, (*place, "slow"), slow, stop, "stop", least=True)
    if zone.clear == "gone" and zone.action not in ("slow", "hold"):
        draft.report(
            (*place, "clear"),
            f'found "gone", expected "reset" because of action = "{zone.action}": power never comes back by '
            'itself; change it, or the action to "hold"',
        )
