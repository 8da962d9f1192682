"""The trace: one fixed-size record per tick in a ring, written by the tick and drained by the recorder.

A record is laid out exactly as CDR lays out the ROS 2 message that `definition` describes (every field is 8 bytes
wide, so there is no padding): recording a tick is copying its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.state import Floats

_TICK_FIELDS = (
    ("tick", "int64", "number of the tick"),
    ("mono_ns", "int64", "CLOCK_MONOTONIC when the tick ran, ns"),
    ("lateness_ns", "int64", "from the tick's deadline to its start, ns"),
    ("cost_ns", "int64", "time that the tick before this one took, ns"),
    ("mode", "int64", "0 OFF 1 STANDBY 2 HOLD 3 AUTO 4 MANUAL 5 STOPPING 6 ESTOP 7 FAULT"),
    ("gate", "int64", "1: motors were commanded"),
    ("starved", "int64", "1: the policy's plan had run out"),
    ("plan_ahead_s", "float64", "how long the plan lasted, s"),
)
_JOINT_FIELDS = (
    ("position", "float64", "measured, rad"),
    ("velocity", "float64", "measured, rad/s"),
    ("torque", "float64", "measured or estimated, Nm"),
    ("temperature", "float64", "degC"),
    ("age_s", "float64", "age of the measurement, s"),
    ("plan", "float64", "goal before the envelope, rad"),
    ("command", "float64", "goal sent to the motor, rad"),
    ("limits", "int64", "limits that acted, bits: 1 position 2 velocity 4 acceleration 8 not finite"),
    ("fault", "int64", "the motor's own error code"),
)


class TraceRing:
    """Ring of tick records for one writer and one reader on another thread.

    The writer fills row `slot()` of `tick`, `joint` and `tail` and then calls `publish`; the reader calls `take`.
    When the reader is more than a ring behind, the oldest records are lost and counted; the writer never waits.
    """

    def __init__(
        self,
        joints: Sequence[str],
        sensors: Mapping[str, Mapping[str, int]],
        commands: Sequence[str],
        capacity: int,
    ) -> None:
        joint = np.dtype([(name, "<" + kind[0] + "8") for name, kind, _ in _JOINT_FIELDS])
        width = sum(sum(fields.values()) for fields in sensors.values()) + len(commands)
        head: list[Any] = [(name, "<" + kind[0] + "8") for name, kind, _ in _TICK_FIELDS]
        record = np.dtype([*head, ("joints", joint, (len(joints),)), ("tail", "<f8", (width,))])
        self.definition = _definition(joints, sensors, commands)
        """The ROS 2 message definition of a record; joints appear as fields with their names."""
        self.rows: NDArray[np.void] = np.zeros(capacity, record)
        self.tick: dict[str, NDArray[Any]] = {name: self.rows[name] for name, _, _ in _TICK_FIELDS}
        """Views of the fields of the tick, each of shape (capacity,)."""
        self.joint: dict[str, NDArray[Any]] = {name: self.rows["joints"][name] for name, _, _ in _JOINT_FIELDS}
        """Views of the fields of the joints, each of shape (capacity, joints)."""
        self.tail: Floats = self.rows["tail"]
        """View of all sensors' values, then all commands, shape (capacity, values)."""
        self.head = 0
        """Records published so far; the next one goes to `rows[head % capacity]`."""
        self.dropped = 0
        """Records that the reader was too late for."""
        self._tail = 0

    def slot(self) -> int:
        """The row to fill next."""
        return self.head % len(self.rows)

    def publish(self) -> None:
        """The row at `slot()` is filled."""
        self.head += 1

    def take(self, limit: int) -> NDArray[np.void]:
        """Copy of the oldest records not taken yet, at most `limit`, shape (n,)."""
        capacity = len(self.rows)
        head = self.head
        # The writer may be filling the row at `head`, so the row a whole ring behind it is not safe to read.
        oldest = head - capacity + 1
        if self._tail < oldest:
            self.dropped += oldest - self._tail
            self._tail = oldest
        count = min(head - self._tail, limit)
        first = self._tail % capacity
        taken = np.concatenate((self.rows[first : first + count], self.rows[: max(first + count - capacity, 0)]))
        overtaken = min(max(self.head - capacity + 1 - self._tail, 0), count)
        self.dropped += overtaken
        self._tail += count
        return taken[overtaken:]


def _definition(joints: Sequence[str], sensors: Mapping[str, Mapping[str, int]], commands: Sequence[str]) -> str:
    lines = [f"# {text}\n{kind} {name}" for name, kind, text in _TICK_FIELDS]
    lines += [f"reflexd/Joint {name.lower()}" for name in joints]
    lines += [
        f"float64[{width}] {sensor.lower()}_{field.lower()}"
        for sensor, fields in sensors.items()
        for field, width in fields.items()
    ]
    lines += [f"float64 command_{name.lower()}" for name in commands]
    lines += ["=" * 80, "MSG: reflexd/Joint"]
    lines += [f"# {text}\n{kind} {name}" for name, kind, text in _JOINT_FIELDS]
    return "\n".join(lines) + "\n"
