"""Arming check: every joint is there, fresh, inside its range, cool and without an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

from drivers.bus import Bus
from drivers.joint import Joint
from drivers.state import JointState

FRESH_S = 1.0
"""A reading that is older counts as none."""
MARGIN = 0.1
"""So far (rad) outside its range a joint may stand: limp, it rests against its stop, which lies beyond it."""


def joints(buses: Sequence[Bus], state: JointState, temperature_max: float, now_ns: int) -> list[str]:
    """`temperature_max`: °C. `now_ns`: CLOCK_MONOTONIC, ns."""
    return [
        f"joint {joint.name} (bus {bus.name}, id {joint.id}): {text}"
        for bus in buses
        for joint, index in zip(bus.joints, bus.index.tolist(), strict=True)
        for text in _joint(bus, joint, state, index, temperature_max, now_ns)
    ]


def _joint(
    bus: Bus, joint: Joint, state: JointState, index: int, temperature_max: float, now_ns: int
) -> Iterator[str]:
    if fault := int(state.fault[index]):
        yield bus.explain(fault)
    position, temperature = float(state.position[index]), float(state.temperature[index])
    age_s = (now_ns - int(state.stamp_ns[index])) / 1e9
    if not isfinite(position):
        yield "was never read"
        return
    if age_s > FRESH_S:
        yield f"last read {age_s:.1f} s ago"
        return
    if not joint.position_min - MARGIN <= position <= joint.position_max + MARGIN:
        yield (
            f"stands at {position:.3f} rad, outside {joint.position_min:g} .. {joint.position_max:g}: move it "
            "back by hand"
        )
    if not temperature <= temperature_max:
        found = f"is {temperature:.0f} °C hot" if isfinite(temperature) else "does not tell its temperature"
        yield f"{found}, at most {temperature_max:g} °C are allowed (safety.arming.temperature_max); let it cool"
