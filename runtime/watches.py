"""Builds what watches the robot's measurements, from the config: monitors and zones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from drivers.sensor import Sensor
from drivers.state import Floats, JointState
from runtime.config.config import Config
from runtime.config.joint_limits import joint_limits
from runtime.config.monitors import Graded, JointMonitor, Monitors, Reaction
from runtime.config.zones import Zone
from safety.action import Action
from safety.gate import Gate
from safety.monitors import joints as measured
from safety.monitors.clock import ClockSteps
from safety.monitors.collision import Collision
from safety.monitors.monitor import Limits, Monitor, Source, Words
from safety.monitors.oscillation import Oscillation
from safety.monitors.sensors import Field, SensorAge, Tilt
from safety.watch import Clear, Watch
from safety.zones.sources import BorderDistance, NearestRange, sector

_UNREPORTED_S = 0.5
"""How long a motor may leave out a measurement that a monitor needs, s."""
_ACTIONS: dict[Reaction, Action] = {
    "slow": Action.SLOW,
    "hold": Action.HOLD,
    "controlled_stop": Action.CONTROLLED_STOP,
    "torque_off": Action.TORQUE_OFF,
}
_NOT_REPORTED = "its motor does not report it; leave the joint out through `only`"


def build_watches(
    config: Config, state: JointState, sensors: Sequence[Sensor], command: measured.Command, gate: Gate
) -> list[Watch]:
    """All watches that the config asks for, and those that are there by default.

    What has a meaning only while motors are commanded is looked at while `gate` is open; `command` is asked only
    then.
    """
    monitors = config.safety.monitor or Monitors()
    fields = _Fields(config, sensors)
    watches: list[Watch] = [*_joints(config, monitors, state, command, gate)]
    if tilt := monitors.tilt:
        words = Words("the tilt of the {}", "rad", _unusable(tilt.orientation))
        limits = _limits(tilt, tilt.warn, tilt.stop, unknown_s=0.0)
        watches.append(Monitor("tilt", ["base"], Tilt(fields.find(tilt.orientation)), [limits], words))
    if ages := monitors.sensor_age:
        names = list(dict.fromkeys([*ages.warn, *ages.stop]))
        source = SensorAge([fields.sensors[name] for name in names])
        each = [_limits(ages, ages.warn.get(name), ages.stop.get(name), unknown_s=0.0) for name in names]
        words = Words("the age of the reading of sensor {}", "s", "it has no time")
        watches.append(Monitor("sensor_age", names, source, each, words, gate))
    watches.append(ClockSteps(round(monitors.clock_step * 1e9)))
    return watches + _zones(config, fields)


class _Fields:
    """Finds sensors' fields by the names that a config has for them."""

    def __init__(self, config: Config, sensors: Sequence[Sensor]) -> None:
        self.sensors = {sensor.name: sensor for sensor in sensors}
        self._max_age_s = {plan.options.name: plan.options.max_age for plan in config.sensors}

    def find(self, name: str) -> Field:
        sensor, field = name.split(".")
        return Field(self.sensors[sensor], field, self._max_age_s[sensor])

    def width(self, name: str) -> int:
        sensor, field = name.split(".")
        where = self.sensors[sensor].fields[field]
        return int(where.stop - where.start)


def _joints(
    config: Config, monitors: Monitors, state: JointState, command: measured.Command, gate: Gate
) -> list[Monitor]:
    kp: Floats = np.array([math.nan if joint.kp is None else joint.kp for joint in config.joints])
    kd: Floats = np.array([joint.kd or 0.0 for joint in config.joints])
    always = ("temperature", "voltage")
    table: dict[str, tuple[Source, str, str]] = {
        "velocity": (measured.velocity(state), "the speed of joint {}", "rad/s"),
        "torque": (measured.torque(state), "the torque of joint {}", "Nm"),
        "following_error": (measured.following_error(state, command), "the following error of joint {}", "rad"),
        "torque_error": (
            measured.torque_error(state, command, kp, kd),
            "the difference between reported and expected torque of joint {}",
            "Nm",
        ),
        "temperature": (measured.temperature(state), "the temperature of joint {}", "°C"),
        "voltage": (measured.voltage(state), "the voltage of joint {}", "V"),
        "joint_age": (measured.age(state), "the age of the reading of joint {}", "s"),
    }
    if jolt := monitors.collision:
        source: Source = Collision(state, round(jolt.settle * 1e9))
        table["collision"] = (source, "the sudden change of torque of joint {}", "Nm")
    if swing := monitors.oscillation:
        source = Oscillation(state, swing.amplitude, round(swing.window * 1e9))
        table["oscillation"] = (source, "the swinging of joint {}", "Hz")
    if grip := monitors.grip_stall:
        source = measured.blocked_torque(state, command, grip.error, grip.speed)
        table["grip_stall"] = (source, "the torque of the blocked joint {}", "Nm")

    place = {joint.name: number for number, joint in enumerate(config.joints)}
    built = []
    for key, (source, quantity, unit) in table.items():
        limits = joint_limits(key, config.safety, config.control, config.joints)
        if not limits:
            continue
        monitor: JointMonitor = getattr(monitors, key) or JointMonitor()
        chosen = source if len(limits) == len(place) else _chosen(source, [place[name] for name in limits])
        words = Words(quantity, unit, _NOT_REPORTED, least=key == "voltage")
        each = [_limits(monitor, limit.warn, limit.stop, _UNREPORTED_S) for limit in limits.values()]
        built.append(Monitor(key, list(limits), chosen, each, words, None if key in always else gate))
    return built


def _chosen(source: Source, places: list[int]) -> Source:
    """Some values of a source."""
    index = np.array(places)
    return lambda now_ns: source(now_ns)[index]


def _zones(config: Config, fields: _Fields) -> list[Watch]:
    zones: list[Watch] = []
    for name, fence in config.safety.geofence.items():
        distance = BorderDistance(fields.find(fence.pose), fence.border, fence.stay == "inside")
        words = Words(
            "the distance of the base to the border of geofence {}", "m", _unusable(fence.pose), least=True
        )
        zones.append(Monitor("geofence", [name], distance, [_zone(fence, fence.slow, fence.stop)], words))
    for name, field in config.safety.protective_field.items():
        rays = slice(None)
        if field.sector:
            rays = sector(fields.width(field.ranges), field.angle_min, field.angle_increment, *field.sector)
        nearest = NearestRange(fields.find(field.ranges), rays)
        words = Words("the free distance in protective field {}", "m", _unusable(field.ranges), least=True)
        zones.append(Monitor("protective_field", [name], nearest, [_zone(field, field.slow, field.stop)], words))
    return zones


def _limits(monitor: Graded, warn: float | None, stop: float | None, unknown_s: float) -> Limits:
    action = _ACTIONS[monitor.action]
    clear = Clear.GONE if action is Action.SLOW else Clear.RESET
    duration_ns = round(monitor.duration * 1e9)
    return Limits(warn, stop, Action.WARN, action, clear, duration_ns, duration_ns, round(unknown_s * 1e9))


def _zone(zone: Zone, slow: float | None, stop: float) -> Limits:
    """Distances count at once, and so does an unusable reading: `max_age` of its sensor is time enough."""
    clear_ns = round(zone.clear_after * 1e9)
    return Limits(slow, stop, Action.SLOW, _ACTIONS[zone.action], Clear(zone.clear), 0, clear_ns, 0)


def _unusable(name: str) -> str:
    return f"sensor.{name} has no usable reading that is younger than its max_age"
