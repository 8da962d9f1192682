"""The demo's task: cubes come past on a conveyor belt, one at a time; the arm puts each into a bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from drivers.emulated.plant import Plant

Floats = NDArray[np.float64]

CUBES: Final = 10
"""Cubes in one run."""
BELT_X: Final = 0.36
"""Middle of the belt, m; it runs along -y."""
BELT_HALF: Final = 0.07
"""Half the width of the belt, m."""
BELT_TOP: Final = 0.08
"""Height of the belt's surface, m."""
CUBE_HALF: Final = 0.018
"""Half the edge of a cube, m."""
SPAWN_Y: Final = 0.34
"""Where a cube is laid on the belt, m."""
LOST_Y: Final = -0.24
"""A cube on the belt that has come this far is out of the arm's reach, m."""
BIN: Final = (0.19, -0.28)
"""Where to let go of a cube, m."""
BIN_X: Final = (0.111, 0.269)
"""Inside of the bin across, m."""
BIN_Y: Final = (-0.56, -0.20)
"""Inside of the bin along, m: a chute, then a tray."""
BIN_TOP: Final = 0.095
"""A cube in the bin below this height has been dropped, m; cubes pass over the rim higher up."""
READY: Final = (0.36, 0.16, 0.16)
"""Grasp centre of the arm that waits for a cube, m. The first cube comes when the arm gets near."""
SPEED: Final = (0.10, 0.14)
"""Range of the belt's speed, drawn anew for each cube, m/s."""
OFFSET: Final = 0.035
"""Largest distance of a cube from the belt's middle, m."""
GAP: Final = (0.2, 0.9)
"""Range of the pause between the end of one cube and the next, s."""
PATIENCE: Final = 12.0
"""A cube that lies somewhere in between for this long is missed, s."""
POSITION_NOISE: Final = 0.0005
"""Standard deviation of the tracker's position, m."""
VELOCITY_NOISE: Final = 0.002
"""Standard deviation of the tracker's velocity, m/s."""
CHECK_EVERY: Final = 5
"""Physics steps between two looks at the rules."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What chance decides for one cube."""

    x: float
    speed: float
    gap: float
    yaw: float


class Belt:
    """Ten cubes on a belt and a bin.

    A sensor over the belt tracks the cube that is in play: `object_position` (3, m), `object_velocity` (3, m/s),
    both zero while no cube is in play, and `object_present` (1, 0 or 1). The belt's own encoder
    tells `belt_speed` (1, m/s).
    """

    def __init__(self, plant: Plant, rng: np.random.Generator) -> None:
        """Find belt, cubes and grasp centre in the plant's model. Raises KeyError when one is missing."""
        self._plant = plant
        self._model: Any = plant.model
        self._data: Any = plant.data
        self._noise = rng
        belt = self._model.joint("belt")
        self._belt_qpos = int(belt.qposadr[0])
        self._belt_dof = int(belt.dofadr[0])
        self._tcp = int(self._model.site("tcp").id)
        cubes = [self._model.joint(f"cube_{i}") for i in range(CUBES)]
        self._qpos = [int(cube.qposadr[0]) for cube in cubes]
        self._dof = [int(cube.dofadr[0]) for cube in cubes]
        self._draws: list[Draw] = []
        self._clear()

    def _clear(self) -> None:
        self._countdown = CHECK_EVERY
        self._started = False
        self._speed = sum(SPEED) / 2
        self._active: int | None = None
        self._spawned = 0
        self._spawn_at = 0.0
        self._age_from = 0.0
        self._in_bin = 0
        self._missed = 0

    def reset(self, rng: np.random.Generator) -> None:
        """Take all cubes off the belt and draw a new run."""
        self._noise = np.random.default_rng(rng.integers(2**63))
        self._draws = [
            Draw(
                x=BELT_X + rng.uniform(-OFFSET, OFFSET),
                speed=rng.uniform(*SPEED),
                gap=rng.uniform(*GAP),
                yaw=rng.uniform(-0.08, 0.08),
            )
            for _ in range(CUBES)
        ]
        self._clear()

    def before_step(self) -> None:
        """Keep the belt moving in place; now and then look at the rules."""
        data = self._data
        data.qpos[self._belt_qpos] = 0.0
        data.qvel[self._belt_dof] = self._speed
        self._countdown -= 1
        if self._countdown <= 0:
            self._countdown = CHECK_EVERY
            self._rules()

    def observe(self, field: str) -> Floats | None:
        """The tracker's fields, see the class."""
        active = self._active
        if field == "object_present":
            return np.array([0.0 if active is None else 1.0])
        if field == "object_position":
            if active is None:
                return np.zeros(3)
            return self._position(active) + self._noise.normal(0.0, POSITION_NOISE, 3)
        if field == "belt_speed":
            return np.array([self._speed])
        if field == "object_velocity":
            if active is None:
                return np.zeros(3)
            dof = self._dof[active]
            velocity: Floats = self._data.qvel[dof : dof + 3] + self._noise.normal(0.0, VELOCITY_NOISE, 3)
            return velocity
        return None

    def score(self) -> dict[str, float | int | str]:
        """`spawned`, `in_bin`, `missed`, `in_hand` (0 or 1), `total`, `done` (0 or 1)."""
        in_hand = int(self._active is not None and self._held(self._active))
        return {
            "spawned": self._spawned,
            "in_bin": self._in_bin,
            "missed": self._missed,
            "in_hand": in_hand,
            "total": CUBES,
            "done": int(self._in_bin + self._missed == CUBES),
        }

    def _position(self, cube: int) -> Floats:
        start = self._qpos[cube]
        position: Floats = self._data.qpos[start : start + 3].copy()
        return position

    def _held(self, cube: int) -> bool:
        x, y, z = self._position(cube)
        hand = self._data.site_xpos[self._tcp]
        near = (x - hand[0]) ** 2 + (y - hand[1]) ** 2 + (z - hand[2]) ** 2 < 0.025**2
        return bool(near and z > BELT_TOP + CUBE_HALF + 0.02)

    def _rules(self) -> None:
        now = self._plant.time
        if not self._started:
            hand = self._data.site_xpos[self._tcp]
            if all(abs(hand[i] - READY[i]) < 0.08 for i in range(3)):
                self._started = True
                self._spawn_at = now + self._draws[0].gap
            return
        if self._active is None:
            if self._spawned < CUBES and now >= self._spawn_at:
                self._spawn(now)
            return
        x, y, z = self._position(self._active)
        if BIN_X[0] < x < BIN_X[1] and BIN_Y[0] < y < BIN_Y[1] and z < BIN_TOP:
            self._in_bin += 1
        elif not self._held(self._active) and (
            z < BELT_TOP - 0.01 or (y < LOST_Y and x > BELT_X - BELT_HALF) or now - self._age_from > PATIENCE
        ):
            self._missed += 1
        else:
            return
        self._active = None
        if self._spawned < CUBES:
            self._spawn_at = now + self._draws[self._spawned].gap

    def _spawn(self, now: float) -> None:
        cube = self._spawned
        draw = self._draws[cube]
        data = self._data
        start, dof = self._qpos[cube], self._dof[cube]
        data.qpos[start : start + 3] = (draw.x, SPAWN_Y, BELT_TOP + CUBE_HALF)
        data.qpos[start + 3 : start + 7] = (np.cos(draw.yaw / 2), 0.0, 0.0, np.sin(draw.yaw / 2))
        data.qvel[dof : dof + 6] = 0.0
        data.qvel[dof + 1] = -draw.speed
        # Kinematics are recomputed by the step that follows; the contact cache of the old place is of no use.
        data.qacc_warmstart[dof : dof + 6] = 0.0
        self._speed = draw.speed
        self._spawned += 1
        self._active = cube
        self._age_from = now
