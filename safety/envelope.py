"""The envelope: limits that a command may never leave, and the last function that every command passes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drivers.joint import Joint
from drivers.state import Floats, Ints, JointState
from safety.axis import Axis, Limit
from safety.errors import EnvelopeError
from safety.jerk import JerkAxis
from safety.shaping import Smoothing, TorqueLimit
from safety.workspace.guard import Guard, Space


class Envelope:
    """Clamps position, velocity, acceleration and, where configured, jerk of all joints, every tick.

    A tick goes one way: each goal is smoothed and pulled towards the measurement where a joint asks for it
    (`safety.shaping`), each joint's law makes a command of it (`safety.axis`, `safety.jerk`), and the guard, when
    there is a workspace, lets all commands pass or has all joints brake (`safety.workspace.guard`).

    A goal that moves within the limits passes unchanged, bit by bit. Any other goal is approached as fast as
    the limits allow, braking early enough to meet it at its own speed; a goal's speed is believed only when it
    has had it for two ticks, so a jump is never mistaken for motion. A joint that is outside its range when
    armed may stay or move towards the range, never further out.
    """

    def __init__(
        self, joints: Sequence[Joint], period_s: float, state: JointState | None = None, space: Space | None = None
    ) -> None:
        """`joints`: in the robot's order. `period_s`: the time between two calls of `apply`, s.

        `state`: the measured state, which limits of the torque need. `space`: the workspace and the
        robot's own shape, when they are configured. Raises EnvelopeError when the state is missing.
        """
        self._names = [joint.name for joint in joints]
        self._joints = joints
        self._period_s = period_s
        self._axes = [JerkAxis(j, period_s) if j.jerk_max is not None else Axis(j, period_s) for j in joints]
        self._smoothings = [(i, Smoothing(j, period_s)) for i, j in enumerate(joints) if j.smoothing is not None]
        self._state = state
        self._torques: list[tuple[int, TorqueLimit]] = []
        self.set_torque(1.0)
        self._guard = Guard(joints, self._axes, space) if space is not None else None
        self._counts: list[dict[int, int]] = [{} for _ in joints]
        """Ticks since the start in which limits acted, by the bits of `limits`; one for each joint."""
        self._ready = False
        self._last: Floats = np.zeros(len(joints))
        self.limits: Ints = np.zeros(len(joints), np.int64)
        """`Limit` bits of the last tick, shape (joints,)."""
        self._limits = [0] * len(joints)  # the same, quicker to compare

    def reset(self, position: Floats) -> None:
        """Start over from standstill at the measured `position`, rad, shape (joints,).

        Raises EnvelopeError when a joint has no position.
        """
        if position.shape != self._last.shape:
            raise EnvelopeError(
                f"found positions of shape {position.shape}, expected one for each of {len(self._names)} joints"
            )
        unknown = [name for name, known in zip(self._names, np.isfinite(position), strict=True) if not known]
        if unknown:
            raise EnvelopeError(
                f"no measured position of {', '.join(unknown)}; wait until every joint has answered"
            )
        angles = position.tolist()
        for axis, angle in zip(self._axes, angles, strict=True):
            axis.reset(angle)
        if self._guard is not None:
            self._guard.reset(angles)
        self._last[:] = position
        self._show_limits([0] * len(angles))
        self._ready = True

    def set_speed(self, factor: float) -> None:
        """Let no joint go faster than `factor` (above 0, at most 1) of its velocity_max from now on.

        A joint that is faster slows down along its acceleration_max; all other limits hold as ever.
        """
        for axis in self._axes:
            axis.set_speed(factor)

    def set_torque(self, part: float) -> None:
        """Let no motor in MIT mode make more than `part` (above 0, at most 1) of its torque_max from now on.

        Not while motors are energised. Raises EnvelopeError when there is no measured state to do it by.
        """
        limited = [
            (i, joint)
            for i, joint in enumerate(self._joints)
            if joint.torque_rate_max is not None or (part < 1.0 and joint.in_mit_mode)
        ]
        if limited and self._state is None:
            names = ", ".join(joint.name for _, joint in limited)
            raise EnvelopeError(f"the torque of {names} is limited, which needs the measured state")
        self._torques = [(i, TorqueLimit(joint, self._period_s, part)) for i, joint in limited]

    def apply(self, goal: Floats, out: Floats) -> None:
        """Write the command that comes closest to `goal` within all limits into `out`.

        Both: joint angles, rad, shape (joints,); they may be the same array. Whatever the goal holds, the command
        is finite. Raises EnvelopeError when `reset` was never called.
        """
        if not self._ready:
            raise EnvelopeError("the envelope does not know where the joints are; call reset first")
        goals = goal.tolist()
        if self._smoothings or self._torques:
            self._shape(goals)
        if self._guard is None:
            commands = [axis.follow(angle) for axis, angle in zip(self._axes, goals, strict=True)]
        else:
            commands = self._guard.follow(goals)
        self._last[:] = commands
        out[:] = self._last
        self._count()

    def stopping_point(self, out: Floats) -> None:
        """Write where each joint comes to rest, rad, shape (joints,), when it brakes from now on.

        Given to `apply` as the goal from the next tick on, it ramps every joint down without turning back.
        """
        out[:] = [axis.stopping_point() for axis in self._axes]
        for i, smoothing in self._smoothings:
            smoothing.rest = float(out[i])

    @property
    def position(self) -> Floats:
        """The last command, rad, shape (joints,); the next tick overwrites it."""
        return self._last

    @property
    def velocity(self) -> Floats:
        """Speed of the last command, rad/s, shape (joints,)."""
        return np.array([axis.step for axis in self._axes]) / self._period_s

    @property
    def counts(self) -> dict[Limit, Ints]:
        """Ticks since the start in which each limit acted, by joint, shape (joints,)."""
        return {
            limit: np.array(
                [sum(n for bits, n in seen.items() if bits & limit) for seen in self._counts], np.int64
            )
            for limit in Limit
        }

    def at_rest(self, eps: float = 1e-6) -> bool:
        """Whether no joint is commanded to move faster than `eps`, rad/s, now or later on its way to rest."""
        step = eps * self._period_s
        return all(axis.at_rest(step) for axis in self._axes)

    def _shape(self, goals: list[float]) -> None:
        last = self._last.tolist()
        for i, smoothing in self._smoothings:
            goals[i] = smoothing.follow(goals[i], last[i])
        if self._torques and self._state is not None:
            position, velocity = self._state.position.tolist(), self._state.velocity.tolist()
            missed = self._state.missed.tolist()
            for i, torque in self._torques:
                goals[i] = torque.follow(goals[i], last[i], position[i], velocity[i], missed[i])
                if torque.limits:
                    # A bound that moves with the joint may stop with it at any time.
                    self._axes[i].expect_rest(goals[i])

    def _count(self) -> None:
        limits = [axis.limits for axis in self._axes]
        for i, smoothing in self._smoothings:
            limits[i] |= smoothing.limits
        for i, torque in self._torques:
            limits[i] |= torque.limits
        if self._guard is not None and (refused := self._guard.limits):
            limits = [bits | refused for bits in limits]
        for bits, counts in zip(limits, self._counts, strict=True):
            if bits:
                counts[bits] = counts.get(bits, 0) + 1
        self._show_limits(limits)

    def _show_limits(self, limits: list[int]) -> None:
        if limits != self._limits:
            self._limits = limits
            self.limits[:] = limits
