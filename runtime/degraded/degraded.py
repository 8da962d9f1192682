"""What has failed while the policy runs, and what follows from it: the table of `[degraded]`, asked in every tick.

Nothing here is a safety function. What the safety task orders goes before, and every way passes the envelope.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from drivers.joint import Joint
from drivers.sensor import Sensor
from drivers.state import Floats
from runtime.config.degraded import Degraded as Options
from runtime.config.degraded import LostCamera, LostSensor, Reaction
from runtime.control.track import Track
from runtime.degraded.way import Trail, slow
from runtime.events import Events
from runtime.policy.source import Dated
from safety.watch import Flag

_GRIP_STALL = "grip_stall."
"""How the flags of that monitor begin."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something has failed for long enough that the run ends."""

    condition: str
    """`sensor.NAME`, `camera.NAME`, `starved` or `grip_stall.JOINT`."""
    reaction: Reaction
    """Not `hold`, which is what the run does by itself."""
    text: str


class _Watched:
    """One sensor or camera: how old it may be, and for how much longer the run goes on."""

    def __init__(
        self, kind: str, source: Dated, max_age_s: float, options: LostSensor | LostCamera, home: Reaction
    ) -> None:
        """`home`: what going home is for this robot."""
        self.kind = kind
        self.source = source
        self.max_age_ns = round(max_age_s * 1e9)
        self.lost_ns = round((max_age_s + options.grace) * 1e9)
        self.grace = options.grace
        self.reaction = home if options.reaction == "home" else options.reaction
        self.old = False


class Degraded:
    """One for a robot. All methods but the constructor run on the loop's thread."""

    def __init__(
        self,
        options: Options,
        joints: Sequence[Joint],
        sensors: Sequence[tuple[Sensor, float]],
        flags: Callable[[], Sequence[Flag]],
        events: Events,
        period_s: float,
        cameras: Sequence[tuple[Dated, float]] = (),
    ) -> None:
        """`sensors`: each with its `max_age`, s; `cameras`: those without which no policy is asked, likewise.
        `flags`: what the safety task's watches say now."""
        home: Reaction = "home" if options.home else "hold"
        self._options = options
        self._watched = [_Watched("sensor", each, age_s, options.lost(each.name), home) for each, age_s in sensors]
        self._watched += [
            _Watched("camera", each, age_s, options.lost_camera(each.name), home) for each, age_s in cameras
        ]
        self._flags = flags
        self._events = events
        self._names = [joint.name for joint in joints]
        self._speed = options.speed * np.array([joint.velocity_max for joint in joints])
        self._trail = Trail(len(joints), options.retreat, period_s)
        self._starved_ns: int | None = None

    def start(self) -> None:
        """A run of the policy begins."""
        self._trail.forget()
        self._starved_ns = None
        for watched in self._watched:
            watched.old = False

    def note(self, command: Floats) -> None:
        """The robot was sent here, rad, shape (joints,): a retreat goes back this way."""
        self._trail.note(command)

    def look(self, now_ns: int, starved: bool) -> Failure | None:
        """What has failed, of all that ends a run. `starved`: the plan has run out."""
        for flag in self._flags():
            if flag.name.startswith(_GRIP_STALL):
                return Failure(flag.name, self._options.grip_stall.reaction, flag.text)
        for watched in self._watched:
            age_ns = now_ns - watched.source.stamp_ns
            if age_ns <= watched.max_age_ns:
                watched.old = False
            elif age_ns > watched.lost_ns and watched.reaction != "hold":
                return self._lost(watched, age_ns)
            elif not watched.old:
                self._tell_old(watched)
        if not starved:
            self._starved_ns = None
            return None
        return self._starving(now_ns)

    def way(self, reaction: Reaction, command: Floats, now_ns: int) -> Track:
        """The plan of a reaction that moves the robot, from where it stands now. `reaction`: home or retreat."""
        if reaction == "home":
            points = np.stack([command, self._posed(command, self._options.home)])
        else:
            points = np.vstack([command, self._trail.backwards()])
            points = np.vstack([command, self._posed(points, self._options.open)])
        rows, spacing_ns = slow(points, self._speed)
        return Track(now_ns, spacing_ns, rows, straight=True)

    def _posed(self, angles: Floats, pose: Mapping[str, float]) -> Floats:
        """The same, shape (..., joints), but with the joints of a pose where it has them."""
        posed = angles.copy()
        for name, angle in pose.items():
            posed[..., self._names.index(name)] = angle
        return posed

    def _lost(self, watched: _Watched, age_ns: int) -> Failure:
        name = watched.source.name
        text = f"sensor {name} has told nothing for {age_ns / 1e9:.3f} s, its last reading is used no more"
        if watched.kind == "camera":
            text = f"camera {name} has shown nothing that can be believed for {age_ns / 1e9:.3f} s"
        return Failure(f"{watched.kind}.{name}", watched.reaction, text)

    def _tell_old(self, watched: _Watched) -> None:
        watched.old = True
        if watched.grace and watched.kind == "sensor":  # a camera has events of its own
            self._events.emit(
                "degraded.sensor",
                f"sensor {watched.source.name} is silent: its last reading is used for {watched.grace:g} s",
                sensor=watched.source.name,
            )

    def _starving(self, now_ns: int) -> Failure | None:
        starved = self._options.starved
        if self._starved_ns is None:
            self._starved_ns = now_ns
        waited_s = (now_ns - self._starved_ns) / 1e9
        if starved.reaction == "hold" or waited_s < starved.grace:
            return None
        return Failure("starved", starved.reaction, f"the policy has had no plan for {waited_s:.3f} s")
