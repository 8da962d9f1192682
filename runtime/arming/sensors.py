"""Arming check: every sensor has told something, not too long ago. The policy's start asks for the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drivers.sensor import Sensor


def sensors(sensors: Sequence[Sensor], max_age_s: Mapping[str, float], now_ns: int) -> list[str]:
    """`max_age_s`: by the sensor's name, s. `now_ns`: CLOCK_MONOTONIC, ns."""
    reasons = []
    for sensor in sensors:
        age_s = (now_ns - sensor.stamp_ns) / 1e9
        if not sensor.stamp_ns:
            reasons.append(f"sensor {sensor.name}: no reading yet")
        elif age_s > max_age_s[sensor.name]:
            reasons.append(
                f"sensor {sensor.name}: last reading {age_s:.3f} s ago, "
                f"at most {max_age_s[sensor.name]:g} s is allowed"
            )
    return reasons
