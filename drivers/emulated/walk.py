"""A walking robot's task: a gantry that holds it until its motors do, falls, and how fast its body moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import mujoco
import numpy as np
from numpy.typing import NDArray

from drivers.emulated.plant import Plant

Floats = NDArray[np.float64]

FALLEN: Final = 0.5
"""A body whose upward axis has a vertical component below this has fallen."""
SETTLE: Final = 0.5
"""How long all motors must hold before the gantry lets go, s."""
LOG_PERIOD: Final = 0.01
"""Simulated time between two rows of the log, s."""
LOG_ROWS: Final = 60_000
"""Rows kept: ten minutes; what comes after is not logged."""
COLUMNS: Final = ("time", "vx", "vy", "yaw_rate", "up")
"""What a row of the log holds: s, m/s, m/s, rad/s, 1; velocities in the body's frame."""


class Walk:
    """A legged robot with a free trunk on a floor.

    Until every motor has held a position for half a second, a gantry keeps the whole robot in its first pose;
    then it lets go, for good, until `reset`. A robot that has fallen stays so. The model has the sensors
    `local_linvel`, `gyro`, `upvector` and `orientation`. Adds the sensor field `gravity` (3): the direction of
    gravity in the body's frame, unit length.
    """

    def __init__(self, plant: Plant, rng: np.random.Generator) -> None:
        """Look up the trunk and the sensors. Raises ValueError when the model has no free joint."""
        self._plant = plant
        self._data: Any = plant.data
        model = plant.model
        if mujoco.mjtJoint.mjJNT_FREE not in model.jnt_type:
            raise ValueError("the model has no free joint; this task is for robots that walk")
        self._linvel = _where(model, "local_linvel")
        self._gyro = _where(model, "gyro")
        self._up = _where(model, "upvector")
        self._orientation = _where(model, "orientation")
        self._settle_steps = max(1, round(SETTLE / plant.timestep))
        self._log_steps = max(1, round(LOG_PERIOD / plant.timestep))
        self._rows = np.zeros((LOG_ROWS, len(COLUMNS)))
        self._home: Floats = plant.snapshot()
        self._clear()

    def _clear(self) -> None:
        self._held_steps = 0
        self._released = False
        self._fallen = False
        self._falls = 0
        self._fell_at = -1.0
        self._count = 0
        self._until_row = 1

    def reset(self, rng: np.random.Generator) -> None:
        """Hang the robot back into the gantry and start a new log."""
        self._home = self._plant.snapshot()
        self._clear()

    def release(self) -> None:
        """Let go of the robot now."""
        self._released = True

    @property
    def released(self) -> bool:
        """Whether the robot stands by itself."""
        return self._released

    def before_step(self) -> None:
        """Hold the robot in the gantry, or watch it walk."""
        if not self._released:
            self._hold()
            return
        self._until_row -= 1
        if self._until_row > 0:
            return
        self._until_row = self._log_steps
        sensors = self._data.sensordata
        up = float(sensors[self._up][2])
        if up < FALLEN and not self._fallen:
            self._fallen = True
            self._falls += 1
            self._fell_at = self._plant.time
        if self._count < LOG_ROWS:
            velocity = sensors[self._linvel]
            self._rows[self._count] = (
                self._plant.time,
                velocity[0],
                velocity[1],
                sensors[self._gyro][2],
                up,
            )
            self._count += 1

    def _hold(self) -> None:
        data = self._data
        stiff = all(axis.stiff for axis in self._plant.axes)
        self._held_steps = self._held_steps + 1 if stiff else 0
        if self._held_steps > self._settle_steps:
            self._released = True
            return
        # Stiff motors may move the legs while the trunk hangs; limp legs are kept from dropping, too.
        count = 7 if stiff else len(self._home)
        data.qpos[:count] = self._home[:count]
        data.qvel[: count - 1] = 0.0

    def observe(self, field: str) -> Floats | None:
        """`gravity`, see the class; everything else is the model's."""
        if field != "gravity":
            return None
        w, x, y, z = self._data.sensordata[self._orientation]
        # Third row of the rotation matrix, turned round: R^T (0, 0, -1).
        return -np.array([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)])

    def score(self) -> dict[str, float | int | str]:
        """`falls`, `fell_at` (simulated s, -1 for never), `time` (simulated s), `standing` (0 or 1), and the
        newest row of the log as `vx`, `vy`, `yaw_rate`, `up`."""
        newest = self._rows[max(self._count - 1, 0)]
        return {
            "falls": self._falls,
            "fell_at": self._fell_at,
            "time": self._plant.time,
            "standing": int(self._released and not self._fallen),
            **{name: float(value) for name, value in zip(COLUMNS[1:], newest[1:], strict=True)},
        }

    def log(self) -> Floats:
        """All rows since the last reset, shape (N, 5), see `COLUMNS`."""
        return self._rows[: self._count].copy()

    def save(self, path: Path) -> None:
        """Write the log as an npz file: `rows`, see `COLUMNS`, and `columns`, their names."""
        np.savez_compressed(path, rows=self.log(), columns=np.array(COLUMNS))

    def window(self, start: float, stop: float, target: tuple[float, float, float]) -> dict[str, float]:
        """How well the body followed `target` (vx, vy, yaw rate) from `start` to `stop`, simulated s.

        Gives for each of the three its mean, its rms error against the target (`rms_vx`, ...) and its standard
        deviation (`std_vx`, ...); NaN when nothing was logged.
        """
        return window(self.log(), start, stop, target)


def window(rows: Floats, start: float, stop: float, target: tuple[float, float, float]) -> dict[str, float]:
    """The same from rows that were saved, shape (N, 5)."""
    chosen = rows[(rows[:, 0] >= start) & (rows[:, 0] < stop), 1:4]
    if not len(chosen):
        chosen = np.full((1, 3), np.nan)
    found: dict[str, float] = {}
    for i, name in enumerate(COLUMNS[1:4]):
        found[f"mean_{name}"] = float(chosen[:, i].mean())
        found[f"rms_{name}"] = float(np.sqrt(np.mean((chosen[:, i] - target[i]) ** 2)))
        found[f"std_{name}"] = float(chosen[:, i].std())
    return found


def _where(model: Any, sensor: str) -> slice:
    index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SENSOR, sensor)
    if index < 0:
        raise ValueError(f"the model has no sensor {sensor!r}, which the task Walk needs; add it to the model")
    start = int(model.sensor_adr[index])
    return slice(start, start + int(model.sensor_dim[index]))
