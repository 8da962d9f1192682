"""What a record of a tick holds, and its two layouts: as the tick leaves it, and as a file keeps it.

In a file it is laid out exactly as CDR lays out the ROS 2 message that `definition` describes (every field is 8
bytes wide, so there is no padding): writing it is copying its bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.state import Ints, JointState

_TICK_FIELDS = (
    ("tick", "int64", "number of the tick"),
    ("mono_ns", "int64", "CLOCK_MONOTONIC when the tick ran, ns"),
    ("lateness_ns", "int64", "from the tick's deadline to its start, ns"),
    ("cost_ns", "int64", "time that the tick before this one took, ns"),
    ("mode", "int64", "0 OFF 1 STANDBY 2 HOLD 3 AUTO 4 MANUAL 5 STOPPING 6 ESTOP 7 FAULT 8 HELD 9 RETURNING"),
    ("gate", "int64", "1: motors were commanded"),
    ("starved", "int64", "1: the policy's plan had run out"),
    ("plan_ahead_s", "float64", "how long the plan lasted, s"),
    ("episode", "int64", "number of the episode since the daemon's start; 0: none"),
    ("intervention", "int64", "1: an operator moves by hand what the policy has moved before"),
)
_JOINT_FIELDS = (
    ("position", "float64", "measured, rad"),
    ("velocity", "float64", "measured, rad/s"),
    ("torque", "float64", "measured or estimated, Nm"),
    ("temperature", "float64", "degC"),
    ("voltage", "float64", "V"),
    ("age_s", "float64", "age of the measurement, s"),
    ("plan", "float64", "goal before the envelope, rad"),
    ("command", "float64", "goal sent to the motor, rad"),
    (
        "limits",
        "int64",
        "limits that acted, bits: 1 position 2 velocity 4 acceleration 8 not finite 16 jerk 32 torque "
        "64 workspace 128 collision",
    ),
    ("fault", "int64", "the motor's own error code"),
)


class TraceLayout:
    """Built from the same names on both sides: in the daemon, and in the recorder's process."""

    def __init__(
        self, joints: Sequence[str], sensors: Mapping[str, Mapping[str, int]], commands: Sequence[str]
    ) -> None:
        """`sensors`: width of each field of each sensor."""
        self.names = (list(joints), {name: dict(fields) for name, fields in sensors.items()}, list(commands))
        """The arguments."""
        count = len(joints)
        widths = [sum(fields.values()) for fields in sensors.values()]
        joint = np.dtype([(name, "<" + kind[0] + "8") for name, kind, _ in _JOINT_FIELDS])
        head: list[Any] = [(name, "<" + kind[0] + "8") for name, kind, _ in _TICK_FIELDS]
        tail = sum(widths) + len(widths) + len(commands)
        self._record = np.dtype([*head, ("joints", joint, (count,)), ("tail", "<f8", (tail,))])
        kinds = "".join("q" if kind == "int64" else "d" for _, kind, _ in _TICK_FIELDS)
        self.head = struct.Struct("<" + kinds + "q" * len(widths))
        """How the tick packs its own fields, and the stamps of all sensors."""
        self._order, self._ages, self._stamps = _layout(count, widths, len(commands))
        per_joint = len(JointState.MEASURED) + len(JointState.COUNTED) + 3
        self.words = len(_TICK_FIELDS) + count * per_joint + tail
        """Size of what the tick leaves, in words of 8 bytes."""
        self.definition = _definition(joints, sensors, commands)
        """The ROS 2 message definition of a record; joints appear as fields with their names."""

    def place(self, sensor: str, field: str) -> int:
        """Where the first value of a sensor's field is in a record's `tail`."""
        place = 0
        for name, fields in self.names[1].items():
            for known, width in fields.items():
                if (name, known) == (sensor, field):
                    return place
                place += width
            place += 1  # its age
        raise KeyError(f"{sensor}.{field}")

    def records(self, left: Ints) -> NDArray[np.void]:
        """Records, shape (n,), from what ticks have left, shape (n, words)."""
        records = left.take(self._order, axis=1)
        records.view(np.float64)[:, self._ages] = (left[:, 1:2] - left[:, self._stamps]) * 1e-9
        return records.view(self._record)[:, 0]


def _layout(joints: int, sensors: Sequence[int], commands: int) -> tuple[Ints, Ints, Ints]:
    """How the tick orders its 8-byte words and how a record does. `sensors`: how many values each has.

    Returns for each word of a record its place among the tick's, the record's words that hold ages, and the tick's
    words that hold their stamps.
    """
    head = len(_TICK_FIELDS)
    first = head + len(sensors)
    blocks = [*JointState.MEASURED, *JointState.COUNTED, "plan", "command", "limits"]
    start = {name: first + number * joints for number, name in enumerate(blocks)}
    names = [name if name != "age_s" else "stamp_ns" for name, _, _ in _JOINT_FIELDS]
    words = [*range(head)]
    words += [start[name] + joint for joint in range(joints) for name in names]
    value = first + len(blocks) * joints
    for number, width in enumerate(sensors):
        words += [*range(value, value + width), head + number]
        value += width
    words += range(value, value + commands)
    stamps = [*range(head, first), *range(start["stamp_ns"], start["stamp_ns"] + joints)]
    ages = [words.index(stamp) for stamp in stamps]
    return np.array(words, np.int64), np.array(ages, np.int64), np.array(stamps, np.int64)


def _definition(joints: Sequence[str], sensors: Mapping[str, Mapping[str, int]], commands: Sequence[str]) -> str:
    lines = [f"# {text}\n{kind} {name}" for name, kind, text in _TICK_FIELDS]
    lines += [f"reflexd/Joint {name.lower()}" for name in joints]
    for sensor, fields in sensors.items():
        lines += [f"float64[{width}] {sensor.lower()}_{field.lower()}" for field, width in fields.items()]
        lines += [f"# age of this reading, s\nfloat64 {sensor.lower()}_age_s"]
    lines += [f"float64 command_{name.lower()}" for name in commands]
    lines += ["=" * 80, "MSG: reflexd/Joint"]
    lines += [f"# {text}\n{kind} {name}" for name, kind, text in _JOINT_FIELDS]
    return "\n".join(lines) + "\n"
