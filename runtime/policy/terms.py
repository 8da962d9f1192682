"""How the robot's state becomes the policy's observation, and the policy's actions become goals.

Both are described in the config as ordered terms, so that a policy trained elsewhere runs without code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from drivers.joint import Options
from drivers.sensor import Sensor
from drivers.state import Floats, Ints, JointState
from runtime.policy.errors import TermsError
from runtime.policy.tasks import Tasks
from runtime.policy.worker.curve import Curve
from runtime.policy.worker.pictures import AgeTerm, PictureTerm

Finite = Annotated[float, Field(allow_inf_nan=False)]
Between = Literal["interpolate", "hold"]

_JOINT_SOURCES = ("joint.position", "joint.velocity", "joint.torque")
_TASK_SOURCES = ("task", "task.one_hot")
_SOURCES = (
    *(*_JOINT_SOURCES, "last_action", "command", *_TASK_SOURCES, "projected_gravity"),
    *("sensor.NAME.FIELD", "camera.NAME", "camera.NAME.age"),
)
_PICTURE_KEYS = ("width", "height", "layout", "colour", "dtype", "input")
# A quaternion further from length 1 than this (squared) is not an orientation; all zeros would read as upright.
_UNIT_TOLERANCE = 0.02
_NO_DIRECTION = (math.nan, math.nan, math.nan)
_LATER: Floats = np.zeros(1)
"""In place of what only the worker knows."""


class ObservationTerm(Options):
    """Some values of the observation, in the order of the terms: `(raw - offset) * scale`."""

    source: str
    """Where the raw values come from: `joint.position` (rad), `joint.velocity` (rad/s), `joint.torque` (Nm),
    `last_action` (raw output of the policy), `command` (the operator's), `task` (id of the task in force),
    `task.one_hot` (1 for the task in force and 0 for each other one, in the config's order), `sensor.NAME.FIELD`,
    `projected_gravity` (direction of gravity in the sensor's frame, unit length), `camera.NAME` (the newest frame,
    which is no part of the vector: it goes to an input of its own) or `camera.NAME.age` (its age when the policy
    is asked, s)."""
    joints: list[str] | None = None
    """Joints of a `joint.` source, in the policy's order; left out: all, in the robot's order."""
    names: list[str] | None = None
    """Commands of the source `command`, in the policy's order; left out: all, in the config's order."""
    sensor: str | None = None
    """Orientation for `projected_gravity` as `NAME.FIELD`: a unit quaternion w, x, y, z that turns the
    sensor's frame into the world's."""
    offset: Finite | list[Finite] = 0.0
    """Subtracted from the raw values: one number, or one for each value."""
    scale: Finite | list[Finite] = 1.0
    """Multiplied after that: one number, or one for each value."""
    clip: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """The result is limited to plus and minus this."""
    width: int | None = Field(default=None, ge=1, le=8192)
    """Width of the picture of a camera, pixels: frames are resized. Left out: the camera's own."""
    height: int | None = Field(default=None, ge=1, le=8192)
    """Likewise its height."""
    layout: Literal["hwc", "chw"] = "hwc"
    """Order of a picture's axes: height, width, channels, or channels first."""
    colour: Literal["rgb", "bgr", "gray"] = "rgb"
    """Channels of a picture."""
    dtype: Literal["uint8", "float32"] = "uint8"
    """Numbers of a picture: 0 to 255 as they are, or `(raw - offset) * scale`, one number or one a channel."""
    input: str | None = Field(default=None, min_length=1)
    """The model's name for a picture. Left out: the camera's name."""

    @property
    def shows_task(self) -> bool:
        """Its values are those of the task in force."""
        return self.source in _TASK_SOURCES

    @property
    def camera(self) -> str:
        """The camera that it shows, or whose frame's age it is; empty for none."""
        return self.source.split(".")[1] if self.source.startswith("camera.") else ""

    @property
    def is_picture(self) -> bool:
        """It is no part of the vector."""
        return self.source.count(".") == 1 and self.camera != ""

    @field_validator("source")
    @classmethod
    def _source_exists(cls, source: str) -> str:
        parts = source.split(".")
        named = all(parts) and (
            (parts[0] == "sensor" and len(parts) == 3) or (parts[0] == "camera" and parts[2:] in ([], ["age"]))
        )
        if source not in _SOURCES[:-3] and not (named and len(parts) > 1):
            raise ValueError(f"found {source!r}, expected one of {', '.join(_SOURCES)}")
        return source

    @model_validator(mode="after")
    def _keys_fit_the_source(self) -> ObservationTerm:
        problems = []
        if self.joints is not None and self.source not in _JOINT_SOURCES:
            problems.append("`joints` goes with a joint source only")
        if self.names is not None and self.source != "command":
            problems.append("`names` goes with the source `command` only")
        if self.sensor is not None and self.source != "projected_gravity":
            problems.append("`sensor` goes with the source `projected_gravity` only")
        if self.source == "projected_gravity" and (self.sensor is None or self.sensor.count(".") != 1):
            problems.append('needs `sensor = "NAME.FIELD"`, the orientation as a quaternion w, x, y, z')
        problems += self._picture_problems()
        if problems:
            raise ValueError(f"term {self.source}: {'; '.join(problems)}")
        return self

    def _picture_problems(self) -> list[str]:
        if not self.is_picture:
            wrong = [key for key in _PICTURE_KEYS if key in self.model_fields_set]
            return [f"`{key}` goes with a picture (source `camera.NAME`) only" for key in wrong]
        problems = [] if self.clip is None else ["`clip` does not go with a picture"]
        channels = 1 if self.colour == "gray" else 3
        for key in ("offset", "scale"):
            value = getattr(self, key)
            if key in self.model_fields_set and self.dtype == "uint8":
                problems.append(f'`{key}` goes with dtype = "float32" only')
            elif isinstance(value, list) and len(value) != channels:
                problems.append(
                    f"{key} has {len(value)} numbers, expected one, or one for each of {channels} channels"
                )
        return problems


class ActionTerm(Options):
    """Some values of the action, in the order of the terms, and the joints that they move."""

    target: str = "joint.position"
    """What the values set: `joint.position`, goal angle = offset + scale * value (rad)."""
    joints: list[str] | None = None
    """Joints in the policy's order; left out: all, in the robot's order."""
    offset: Finite | list[Finite] = 0.0
    """Goal angle at the value 0, rad: one number, or one for each joint."""
    scale: Finite | list[Finite] = 1.0
    """Radians for each unit of the value: one number, or one for each joint."""
    discrete: bool = False
    """The joints keep each action until the next, and a seam does not blend them: for grippers that open and
    close."""

    @field_validator("target")
    @classmethod
    def _target_exists(cls, target: str) -> str:
        if target != "joint.position":
            raise ValueError(f"found {target!r}, expected joint.position")
        return target


class ObservationBuilder:
    """Builds the observation with a fixed number of array operations, however many terms there are."""

    def __init__(
        self,
        terms: Sequence[ObservationTerm],
        joints: Sequence[str],
        sensors: Sequence[Sensor],
        commands: Sequence[str],
        action_size: int,
        tasks: Tasks | None = None,
    ) -> None:
        """`action_size`: length of the last action, `ActionMap.size`. Raises TermsError."""
        self.tasks = tasks or Tasks()
        """Every observation is one for the task in force."""
        self.shows_task = any(term.shows_task for term in terms)
        """The task in force is part of the observation."""
        self._sensors = tuple(sensors)
        self._orientations: list[tuple[Sensor, slice]] = []
        # All sources lie side by side in one pool, in the order in which `build` joins them.
        self._labels: list[str] = []
        self._places: dict[str, dict[str, int]] = {}
        for source in _JOINT_SOURCES:
            self._add_source(source, joints)
        self._add_source("last_action", [str(place) for place in range(action_size)])
        self._add_source("command", commands)
        self._add_source("age", ["frame"])
        self._add_source("task", ["id"])
        self._add_source("task.one_hot", [task.name for task in self.tasks.all])
        self._fields: dict[str, range] = {}
        for sensor in self._sensors:
            start = len(self._labels)
            self._labels += [""] * sensor.values.size
            for field, where in sensor.fields.items():
                name = f"sensor.{sensor.name}.{field}"
                self._fields[name] = range(start + where.start, start + where.stop)
                for place in self._fields[name]:
                    self._labels[place] = name

        problems = [] if terms else ["found no observation terms, expected at least one"]
        index: list[int] = []
        offset: list[float] = []
        scale: list[float] = []
        clip: list[float] = []
        self.pictures: list[PictureTerm] = []
        """What goes beside the vector. Sizes of 0 are those of the camera."""
        self.ages: list[AgeTerm] = []
        """What the worker writes into the vector, where this leaves zeros."""
        for number, term in enumerate(terms, 1):
            if term.is_picture:
                self.pictures.append(_picture(term))
                continue
            own: list[str] = []
            places = self._find(term, own)
            if term.camera and places:
                limit = math.inf if term.clip is None else term.clip
                (shift,), (factor,) = _spread("offset", term.offset, 1, own), _spread("scale", term.scale, 1, own)
                self.ages.append(AgeTerm(term.camera, len(index), shift, factor, limit))
            if places:
                offset += _spread("offset", term.offset, len(places), own)
                scale += _spread("scale", term.scale, len(places), own)
            index += places
            clip += [np.inf if term.clip is None else term.clip] * len(places)
            problems += [f"observation term {number} ({term.source}): {problem}" for problem in own]
        if problems:
            raise TermsError(problems)

        self.size = len(index)
        """N: length of the observation."""
        self._index: Ints = np.array(index, np.int64)
        self._offset: Floats = np.array(offset)
        self._scale: Floats = np.array(scale)
        self._as_it_is = not self._offset.any() and bool((self._scale == 1.0).all())
        """Most networks that others trained scale for themselves."""
        self._clip: NDArray[np.float32] | None = np.array(clip, np.float32) if np.isfinite(clip).any() else None
        self._gravity: Floats = np.full(3 * len(self._orientations), np.nan)
        self._pool: Floats = np.full(len(self._labels), np.nan)
        self._pool_bytes = self._pool.data.cast("B")
        self._raw: Floats = np.full(self.size, np.nan)
        self._scaled: Floats = np.full(self.size, np.nan)

    def build(self, out: NDArray[np.float32], state: JointState, command: Floats, last_action: Floats) -> bool:
        """Write the observation into `out`, shape (N,). False, and `out` of no use, while a value is missing.

        `command`: operator commands in the config's order, shape (C,); `last_action`: raw, shape (A,).
        """
        for number, (sensor, where) in enumerate(self._orientations):
            self._gravity[3 * number : 3 * number + 3] = _gravity(*sensor.values[where].tolist())
        # As bytes: numpy takes three times as long to join so many small arrays.
        parts: list[Any] = [
            state.position,
            state.velocity,
            state.torque,
            last_action,
            command,
            _LATER,
            self.tasks.values,
            *[sensor.values for sensor in self._sensors],
            self._gravity,
        ]
        self._pool_bytes[:] = b"".join(parts)
        # The places are known to exist; any mode but "raise" spares numpy a second buffer.
        self._pool.take(self._index, out=self._raw, mode="clip")
        if not math.isfinite(sum(self._raw.tolist())):
            return False
        if self._as_it_is:
            out[:] = self._raw
        else:
            np.subtract(self._raw, self._offset, out=self._scaled)
            np.multiply(self._scaled, self._scale, out=out)
        if self._clip is not None:
            np.clip(out, -self._clip, self._clip, out=out)
        return True

    def missing(self) -> list[str]:
        """What was missing when `build` was last called: `joint.position of elbow`, `sensor.imu.gyro`."""
        places = self._index[~np.isfinite(self._raw)]
        return list(dict.fromkeys(self._labels[place] for place in places))

    def _add_source(self, source: str, names: Sequence[str]) -> None:
        start = len(self._labels)
        self._places[source] = {name: start + place for place, name in enumerate(names)}
        self._labels += [f"{source} of {name}" for name in names]

    def _find(self, term: ObservationTerm, problems: list[str]) -> list[int]:
        """Places of the term's raw values in the pool; empty, with a problem, where there are none."""
        if term.source in self._places:
            places = self._places[term.source]
            kind = "command" if term.source == "command" else "joint"
            wanted = term.names if term.source == "command" else term.joints
            if term.shows_task:
                problems += _task_problems(term.source, self.tasks)
            elif not places:
                problems.append("the robot has no such values")
            return [places.get(name, 0) for name in _choose(kind, wanted, list(places), problems)]
        if term.camera:
            return list(self._places["age"].values())
        field = term.source if term.source != "projected_gravity" else f"sensor.{term.sensor}"
        found = self._fields.get(field)
        if found is None:
            known = ", ".join(self._fields) or "no sensors at all"
            problems.append(f"there is no {field}; found {known}")
            return []
        if term.source != "projected_gravity":
            return list(found)
        if len(found) != 4:
            problems.append(f"{field} has {len(found)} values, expected a quaternion: 4, in the order w, x, y, z")
            return []
        sensor = next(each for each in self._sensors if each.name == field.split(".")[1])
        self._orientations.append((sensor, sensor.fields[field.split(".")[2]]))
        start = len(self._labels)
        self._labels += [f"projected_gravity ({field} is not a unit quaternion)"] * 3
        return [start, start + 1, start + 2]


class ActionMap:
    """Gives the raw numbers of a chunk their meaning: goal angles of joints."""

    def __init__(
        self, terms: Sequence[ActionTerm], joints: Sequence[str], between: Between = "interpolate"
    ) -> None:
        """`between`: whether all joints hold an action until the next, or only those of discrete terms.

        Raises TermsError with every problem of every term.
        """
        problems = [] if terms else ["found no action terms, expected at least one"]
        place = {name: number for number, name in enumerate(joints)}
        index: list[int] = []
        offset: list[float] = []
        scale: list[float] = []
        held = np.full(len(joints), between == "hold")
        for number, term in enumerate(terms, 1):
            own: list[str] = []
            names = _choose("joint", term.joints, list(joints), own)
            offset += _spread("offset", term.offset, len(names), own)
            scale += _spread("scale", term.scale, len(names), own)
            twice = [name for name in names if name in place and place[name] in index]
            if twice:
                own.append(f"{', '.join(twice)} moved by an earlier term already; expected each joint once")
            places = [place.get(name, 0) for name in names]
            index += places
            held[places] |= term.discrete
            problems += [f"action term {number} ({term.target}): {problem}" for problem in own]
        if problems:
            raise TermsError(problems)
        self.size = len(index)
        """A: values in an action."""
        self.joints = len(joints)
        self.held: NDArray[np.bool_] | None = held if held.any() else None
        """Joints that keep each action until the next, shape (joints,); None: none does."""
        self.curve = Curve(index, offset, scale, held.tolist())
        self._index: Ints = np.array(index, np.int64)
        self._unmoved = np.setdiff1d(np.arange(len(joints)), self._index)
        self._offset: Floats = np.array(offset)
        # A value without effect could have been any.
        self._inverse: Floats = np.array([1.0 / each if each else 0.0 for each in scale])

    def fill(self, curve: Floats, hold: Floats) -> None:
        """Have the joints that no term moves stay at their goals in `hold` (rad, shape (joints,)), in place."""
        if len(self._unmoved):
            curve[:, 0, self._unmoved] = hold[self._unmoved]

    def raw(self, goals: Floats) -> Floats:
        """The other way round: raw actions, shape (..., A), for goal angles, rad, shape (..., joints)."""
        raw: Floats = (goals.take(self._index, axis=-1) - self._offset) * self._inverse
        return raw


def _picture(term: ObservationTerm) -> PictureTerm:
    channels = 1 if term.colour == "gray" else 3
    offset, scale = _spread("offset", term.offset, channels, []), _spread("scale", term.scale, channels, [])
    size = (term.width or 0, term.height or 0)
    name = term.input or term.camera
    return PictureTerm(term.camera, name, *size, term.layout, term.colour, term.dtype, offset, scale)


def _task_problems(source: str, tasks: Tasks) -> list[str]:
    """Why the observation cannot show every task that an operator may choose."""
    if not tasks.all:
        return ["the policy has no tasks; add [policy.task.NAME]"]
    without = [task.name for task in tasks.all if task.id is None]
    problems = [f"no id in task {', '.join(without)}; give each task one"] if without and source == "task" else []
    if tasks.any_prompt:
        problems.append("it cannot show a prompt of the operator's own words; remove it, or policy.any_prompt")
    return problems


def _choose(kind: str, wanted: list[str] | None, known: list[str], problems: list[str]) -> list[str]:
    """The wanted names, all known ones when nothing is wanted in particular."""
    if wanted is None:
        return known
    unknown = [name for name in wanted if name not in known]
    twice = sorted({name for name in wanted if wanted.count(name) > 1})
    if unknown:
        problems.append(f"no {kind} is called {', '.join(unknown)}; found {', '.join(known) or 'none'}")
    if twice:
        problems.append(f"{', '.join(twice)} found more than once, expected each {kind} once")
    if not wanted:
        problems.append(f"found an empty list of {kind}s; leave it out to take all")
    return wanted


def _spread(key: str, value: float | list[float], width: int, problems: list[str]) -> list[float]:
    """`value` for each of `width` values."""
    if not isinstance(value, list):
        return [value] * width
    if len(value) != width:
        problems.append(f"{key} has {len(value)} numbers, expected one, or one for each of the {width} values")
    return value


def _gravity(w: float, x: float, y: float, z: float) -> tuple[float, float, float]:
    """R^T (0, 0, -1) for the rotation R of a unit quaternion: minus the third row of R."""
    if not abs(w * w + x * x + y * y + z * z - 1.0) < _UNIT_TOLERANCE:
        return _NO_DIRECTION
    return 2.0 * (w * y - x * z), -2.0 * (y * z + w * x), 2.0 * (x * x + y * y) - 1.0
