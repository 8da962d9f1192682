"""What must hold of `[degraded]`: that its names exist, and that the ways it asks for can be gone."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.config.degraded import Degraded
from runtime.config.draft import Draft
from runtime.config.joint_limits import joint_limits
from runtime.config.paths import Place
from runtime.config.words import found, meant, one_of


def apply(draft: Draft) -> None:
    """Report every mistake."""
    degraded = draft.degraded
    if not degraded:
        return
    if None not in draft.sensors:
        known = [plan.options.name for plan in draft.sensors if plan]
        _known(draft, ("degraded", "sensor"), degraded.sensor, "sensor", known)
    if None not in draft.cameras.values():
        _known(draft, ("degraded", "camera"), degraded.camera, "camera", list(draft.cameras))
    if None in draft.joints:
        return
    _angles(draft, ("degraded", "home"), degraded.home)
    _angles(draft, ("degraded", "open"), degraded.open)
    missing = [joint.name for joint in draft.joints if joint and joint.name not in degraded.home]
    if degraded.home and missing:
        draft.report(
            ("degraded", "home"), f"found no angle of {', '.join(missing)}, expected one of every joint; add it"
        )
    if not degraded.home:
        _homeless(draft, degraded)
    _grippers(draft, degraded)


def _known(draft: Draft, place: Place, names: Mapping[str, object], kind: str, known: list[str]) -> None:
    for name in names:
        if name not in known:
            draft.report(
                (*place, name),
                f"found the unknown {kind} {found(name)}, expected {one_of(known)}; "
                f"{meant(name, known, 'correct it')}",
            )


def _angles(draft: Draft, place: Place, angles: Mapping[str, float]) -> None:
    joints = {joint.name: joint for joint in draft.joints if joint}
    _known(draft, place, angles, "joint", list(joints))
    for name, angle in angles.items():
        joint = joints.get(name)
        if joint is not None and not joint.position_min <= angle <= joint.position_max:
            draft.report(
                (*place, name),
                f"found {angle:g}, expected {joint.position_min:g} ... {joint.position_max:g}, the joint's range; "
                "change it",
            )


def _homeless(draft: Draft, degraded: Degraded) -> None:
    """Only a default may ask for a home that is not there."""
    asked: dict[Place, object] = {
        ("degraded", "starved", "reaction"): degraded.starved.reaction,
        ("degraded", "grip_stall", "reaction"): degraded.grip_stall.reaction,
    }
    for kind, tables in (("sensor", degraded.sensor), ("camera", degraded.camera)):
        for name, lost in tables.items():
            if "reaction" in lost.model_fields_set:
                asked["degraded", kind, name, "reaction"] = lost.reaction
    for place, reaction in asked.items():
        if reaction == "home":
            draft.report(
                place, 'found "home", but the robot has none; give the angle of every joint in degraded.home'
            )


def _grippers(draft: Draft, degraded: Degraded) -> None:
    safety, control, joints = draft.safety, draft.control, [joint for joint in draft.joints if joint]
    if safety is None or control is None or degraded.grip_stall.reaction != "retreat":
        return
    limits = joint_limits("grip_stall", safety, control, joints)
    closed = [name for name, limit in limits.items() if limit.warn is not None and name not in degraded.open]
    if closed:
        draft.report(
            ("degraded", "open"),
            f"found no angle of {', '.join(closed)}, expected where it has let go: when it stalls (the monitor's "
            "warn), the robot retreats; add it, or give the monitor a stop in place of warn",
        )
