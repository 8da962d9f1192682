"""Arming check: with drive-enable inactive, no motor power flows."""

from __future__ import annotations


def drive_enable(wired: bool, enabled: bool, cut: bool) -> list[str]:
    """`wired`: there is such a line. `enabled`: it is active. `cut`: line and feedback say that power is off."""
    if not wired or enabled or cut:
        return []
    return [
        "drive-enable is inactive, but nothing confirms that motor power is off: the line does not obey, or the "
        "contactor has not dropped out; try again in a moment, then look at line, contactor and feedback"
    ]
