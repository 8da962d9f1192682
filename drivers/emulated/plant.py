"""The physics behind emulated motors: a MuJoCo model whose actuators obey the law that the motors ask for."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import mujoco
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Task(Protocol):
    """What happens around the robot: props, rules, score. Named in a config as `package.module:Class`."""

    def __init__(self, plant: Plant, rng: np.random.Generator) -> None:
        """Look up what the task needs in the plant's model; nothing moves before `reset`."""

    def reset(self, rng: np.random.Generator) -> None:
        """Start anew: the plant has just gone back to its first state."""

    def before_step(self) -> None:
        """Run the task's own rules; called before every physics step."""

    def observe(self, field: str) -> Floats | None:
        """What a sensor of this task measures now; None when the task knows no such field."""

    def score(self) -> dict[str, float | int | str]:
        """How the task stands."""


class JointAxis:
    """The shaft of one motor, in joint coordinates."""

    __slots__ = ("_actuator", "_data", "_dof", "_law", "_model", "_powered", "_qpos", "name")

    def __init__(self, model: Any, data: Any, joint: str) -> None:
        self.name = joint
        self._model = model
        self._data = data
        index = _joint_index(model, joint)
        self._qpos = int(model.jnt_qposadr[index])
        self._dof = int(model.jnt_dofadr[index])
        self._actuator = _actuator_index(model, index, joint)
        self._law = (0.0, 0.0, 0.0, 0.0)
        self._powered = False
        # The motor brings its own damping (kd); what the model gives as passive damping stands for the same thing.
        model.dof_damping[self._dof] = 0.0
        actuator = self._actuator
        model.actuator_gaintype[actuator] = mujoco.mjtGain.mjGAIN_FIXED
        model.actuator_biastype[actuator] = mujoco.mjtBias.mjBIAS_AFFINE
        model.actuator_dyntype[actuator] = mujoco.mjtDyn.mjDYN_NONE
        model.actuator_gainprm[actuator] = 0.0
        model.actuator_gainprm[actuator, 0] = 1.0
        model.actuator_biasprm[actuator] = 0.0
        model.actuator_ctrllimited[actuator] = 0
        model.actuator_forcelimited[actuator] = 1
        model.actuator_gear[actuator] = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)

    @property
    def position(self) -> float:
        """Joint angle now, rad."""
        return float(self._data.qpos[self._qpos])

    @property
    def velocity(self) -> float:
        """Joint speed now, rad/s."""
        return float(self._data.qvel[self._dof])

    @property
    def torque(self) -> float:
        """Torque that the motor gave in the last physics step, Nm."""
        return float(self._data.actuator_force[self._actuator])

    @property
    def stiff(self) -> bool:
        """Whether the motor holds a position now: powered, with a stiffness above zero."""
        return self._powered and self._law[0] > 0.0

    def drive(self, kp: float, kd: float, bias: float, limit: float) -> None:
        """Torque = clip(bias - kp position - kd velocity, ±limit) from the next step on, until changed.

        kp in Nm/rad, kd in Nms/rad, bias and limit in Nm. Kept, but without effect, while power is off.
        """
        law = (kp, kd, bias, limit)
        if law != self._law:
            self._law = law
            if self._powered:
                self._apply(law)

    def limp(self) -> None:
        """No torque, whatever the shaft does."""
        self.drive(0.0, 0.0, 0.0, 0.0)

    def power(self, on: bool) -> None:
        """Let torque flow, or not."""
        self._powered = on
        self._apply(self._law if on else (0.0, 0.0, 0.0, 0.0))

    def _apply(self, law: tuple[float, float, float, float]) -> None:
        kp, kd, bias, limit = law
        model, actuator = self._model, self._actuator
        prm = model.actuator_biasprm[actuator]
        prm[1] = -kp
        prm[2] = -kd
        span = model.actuator_forcerange[actuator]
        span[0] = -limit
        span[1] = limit
        self._data.ctrl[actuator] = bias


class Plant:
    """A robot and its surroundings, stepped on demand. One thread only; simulated time never goes back."""

    def __init__(
        self,
        model: Path,
        joints: Sequence[str],
        task: str | None = None,
        timestep: float | None = None,
        seed: int = 0,
    ) -> None:
        """Load the model and give the named joints to the motors, limp and without power.

        `joints`: in the robot's order; each is the MJCF joint `NAME` or `NAME_joint` and has one actuator.
        `timestep`: physics step in s, the model's own when None. Raises ValueError for a joint or a task that
        cannot be had.
        """
        self.model: Any = mujoco.MjModel.from_xml_path(str(model))
        self.data: Any = mujoco.MjData(self.model)
        if timestep is not None:
            self.model.opt.timestep = timestep
        self.timestep = float(self.model.opt.timestep)
        self.joints = tuple(joints)
        self._axes = {name: JointAxis(self.model, self.data, name) for name in self.joints}
        self._powered = False
        self._steps = 0
        self._seed = seed
        self._sensors = _sensor_slices(self.model)
        self.task: Task | None = None
        if task is not None:
            self.task = _task_class(task)(self, np.random.default_rng(seed))
        self.reset()

    @property
    def axes(self) -> tuple[JointAxis, ...]:
        """All motor shafts in the robot's order."""
        return tuple(self._axes.values())

    @property
    def powered(self) -> bool:
        """Whether motor power flows."""
        return self._powered

    @property
    def time(self) -> float:
        """Simulated time, s."""
        return self._steps * self.timestep

    def axis(self, joint: str) -> JointAxis:
        """The shaft of one joint."""
        return self._axes[joint]

    def power(self, on: bool) -> None:
        """Drive-enable: without it every axis is limp, whatever is commanded."""
        self._powered = on
        for axis in self._axes.values():
            axis.power(on)

    def advance(self, to_seconds: float) -> None:
        """Step until simulated time is at least `to_seconds`; nothing happens when it already is."""
        # A step's worth of rounding must not add a step: the count is exact for every multiple of the step.
        target = math.ceil(to_seconds / self.timestep - 1e-6)
        count = target - self._steps
        if count <= 0:
            return
        model, data, step = self.model, self.data, mujoco.mj_step
        if self.task is None:
            step(model, data, count)
        else:
            before = self.task.before_step
            for _ in range(count):
                before()
                step(model, data)
                self._steps += 1
        self._steps = target

    def sensor(self, fields: dict[str, int]) -> Floats:
        """Measured values of the fields one after another, shape (sum of widths,).

        A field is something that the task observes or an MJCF sensor. Raises ValueError for an unknown one or
        another width.
        """
        parts = []
        for name, width in fields.items():
            value = self.task.observe(name) if self.task is not None else None
            if value is None:
                where = self._sensors.get(name)
                if where is None:
                    raise ValueError(
                        f"the plant has no sensor {name!r}; the model has {sorted(self._sensors)}, "
                        "a task may add its own; correct the sensor's fields"
                    )
                value = self.data.sensordata[where]
            if len(value) != width:
                raise ValueError(
                    f"sensor {name!r} has {len(value)} values, {width} expected; correct its width in the config"
                )
            parts.append(np.asarray(value, np.float64))
        return np.concatenate(parts) if parts else np.zeros(0)

    def score(self) -> dict[str, float | int | str]:
        """How the task stands; empty without a task."""
        return {} if self.task is None else self.task.score()

    def reset(self, seed: int | None = None) -> None:
        """Back to the first state (the model's first keyframe, if it has one). Time and power stay as they are.

        The task's randomness starts anew from `seed`, by default the plant's own: same seed, same run.
        """
        if self.model.nkey:
            mujoco.mj_resetDataKeyframe(self.model, self.data, 0)
        else:
            mujoco.mj_resetData(self.model, self.data)
        self.data.time = self.time
        self.data.ctrl[:] = 0.0
        self.power(self._powered)
        mujoco.mj_forward(self.model, self.data)
        if self.task is not None:
            self.task.reset(np.random.default_rng(self._seed if seed is None else seed))
            mujoco.mj_forward(self.model, self.data)

    def snapshot(self) -> Floats:
        """Copy of the whole configuration (MuJoCo qpos), for rendering, shape (nq,)."""
        return cast(Floats, self.data.qpos.copy())


def _joint_index(model: Any, joint: str) -> int:
    for name in (joint, f"{joint}_joint"):
        index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
        if index >= 0:
            return int(index)
    known = [model.joint(i).name for i in range(model.njnt) if model.joint(i).name]
    raise ValueError(f"the model has no joint {joint!r} or '{joint}_joint'; it has {known}; correct the config")


def _actuator_index(model: Any, joint_index: int, joint: str) -> int:
    found = [
        i
        for i in range(model.nu)
        if model.actuator_trntype[i] == mujoco.mjtTrn.mjTRN_JOINT and model.actuator_trnid[i, 0] == joint_index
    ]
    if len(found) != 1:
        raise ValueError(f"joint {joint!r} has {len(found)} actuators in the model, 1 expected; correct the model")
    return found[0]


def _sensor_slices(model: Any) -> dict[str, slice]:
    slices = {}
    for i in range(model.nsensor):
        start = int(model.sensor_adr[i])
        slices[model.sensor(i).name] = slice(start, start + int(model.sensor_dim[i]))
    return slices


def _task_class(path: str) -> type[Task]:
    module, _, name = path.partition(":")
    try:
        return cast(type[Task], getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"task {path!r} cannot be loaded ({error}); expected 'package.module:Class'") from error
