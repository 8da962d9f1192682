"""Arming check: every camera that a policy sees shows what can be believed. A start of the policy asks, too."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.cameras.camera import Camera


def cameras(seen: Sequence[Camera], now_ns: int) -> list[str]:
    """`seen`: those that a policy sees through. `now_ns`: CLOCK_MONOTONIC, ns."""
    reasons = []
    for camera in seen:
        age_s = (now_ns - camera.stamp_ns) / 1e9
        if camera.fault:
            about = f": {camera.about}" if camera.fault == "lost" else ""
            reasons.append(f"camera {camera.name}: {camera.fault}{about}")
        elif age_s > camera.options.max_age:
            reasons.append(
                f"camera {camera.name}: last frame {age_s:.3f} s ago, "
                f"at most {camera.options.max_age:g} s is allowed"
            )
    return reasons
