"""The scripted expert of the demo: what the arm should do during the next second, from one observation.

A pure function of the observation: the chunk is a rollout of a kinematic model of arm and cube under a
hand-written feedback law. So any state, also one that a half-trained policy has got itself into, can be
labelled, thousands at once. All arrays have the batch first.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from drivers.emulated.belt import BELT_TOP, BELT_X, BIN, CUBE_HALF, LOST_Y, READY
from drivers.emulated.servo import SERVOS

Array = NDArray[np.float64]

HERE = Path(__file__).parent
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_pitch", "wrist_roll", "gripper")
MODELS = ("XM540-W270",) * 3 + ("XM430-W350",) * 4
KP = np.array([SERVOS[m].kp for m in MODELS])
KD = np.array([SERVOS[m].kd for m in MODELS])
LIMIT = np.array([SERVOS[m].limit for m in MODELS])
REST = np.array([0.0, -1.25, 1.1, 0.0, 0.7, 0.0, 1.0])

RATE = 50.0
HORIZON = 50
FIELDS = {"object_position": 3, "object_velocity": 3, "object_present": 1}
OBSERVATION = 28  # position 7, velocity 7, last action 7, object position 3, object velocity 3, object present 1

SHOULDER_Z, UPPER, FORE, HAND = 0.16, 0.28, 0.28, 0.15
# Masses of arm.xml: upper arm, forearm (mass, first moment about the elbow), hand (about the wrist).
UPPER_MOMENT, FORE_MASS, FORE_MOMENT, HAND_MASS, HAND_MOMENT = 0.35 * 0.14, 0.27, 0.0315, 0.28, 0.01872

OPEN, CLOSED, CONTACT = 1.5, 0.78, 0.88  # gripper angle: wide open, goal of the squeeze, fingers on the cube; rad
GRASP_Z = BELT_TOP + CUBE_HALF + 0.004
HOVER = 0.06
CARRY_Z = 0.165
WAIT_Y = 0.16  # the arm waits here for a cube and follows it from here on
GIVE_UP_Y = LOST_Y + 0.08
LEAD = 0.045  # the servo's lag behind its goal (kd / kp) and the wires' delay, s
SPEED = np.array([2.0, 2.0, 2.0, 2.0, 2.2, 2.2, 2.5])
ACCELERATION = np.array([12.0, 12.0, 12.0, 12.0, 14.0, 14.0, 25.0])
LET_GO = 1.25  # a gripper this far open has let go, rad
GAIN, CALM_GAIN = 12.0, 4.0
# How far a joint lags behind its goal at a constant speed: the servo's kd / kp and one tick, s.
LAG = 0.043
MOVES_FREELY = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0])  # gravity and load blur the lag of the others


class Observation(NamedTuple):
    """One row per state."""

    position: Array
    velocity: Array
    last_action: Array
    object_position: Array
    object_velocity: Array
    object_present: Array


def split(observation: Array) -> Observation:
    """Name the columns of observations, shape (N, 28)."""
    o = np.atleast_2d(observation).astype(np.float64)
    return Observation(o[:, :7], o[:, 7:14], o[:, 14:21], o[:, 21:24], o[:, 24:27], o[:, 27] > 0.5)


def forward(q: Array) -> Array:
    """Grasp centre (N, 3) at joint angles (N, 7); the forearm's roll is taken as zero."""
    s, f = q[:, 1], q[:, 1] + q[:, 2]
    h = f + q[:, 4]
    r = UPPER * np.sin(s) + FORE * np.cos(f) + HAND * np.cos(h)
    z = SHOULDER_Z + UPPER * np.cos(s) - FORE * np.sin(f) - HAND * np.sin(h)
    return np.stack((r * np.cos(q[:, 0]), r * np.sin(q[:, 0]), z), 1)


def inverse(p: Array) -> Array:
    """Arm angles (N, 6) that put the grasp centre at p (N, 3), hand down, fingers along the belt."""
    r = np.hypot(p[:, 0], p[:, 1])
    up = p[:, 2] + HAND - SHOULDER_Z
    d = np.clip(np.hypot(r, up), 0.12, UPPER + FORE - 0.002)
    lift = np.arctan2(up, r)
    inner = np.arccos(d / (2 * UPPER))  # both links are equally long
    shoulder = np.pi / 2 - lift - inner
    fore = inner - lift
    yaw = np.arctan2(p[:, 1], p[:, 0])
    return np.stack((yaw, shoulder, fore - shoulder, np.zeros_like(r), np.pi / 2 - fore, yaw), 1)


def sag(q: Array) -> Array:
    """How far (N, 7) gravity pulls each joint below its goal: the goal must lie that much above."""
    s, f = q[:, 1], q[:, 1] + q[:, 2]
    hand = HAND_MOMENT * np.cos(f + q[:, 4])
    fore = (FORE_MOMENT + FORE * HAND_MASS) * np.cos(f)
    upper = (UPPER_MOMENT + UPPER * (FORE_MASS + HAND_MASS)) * np.sin(s)
    torque = np.zeros_like(q)
    torque[:, 1] = upper + fore + hand
    torque[:, 2] = fore + hand
    torque[:, 4] = hand
    return 9.81 * torque / KP


def reference(o: Observation) -> tuple[Array, Array]:
    """Where the goal is and how fast it moves (N, 7), without gravity's share.

    The last action says where, unless the robot is somewhere else: at the start (all zeros), after a pause, or
    while the limits of speed and acceleration hold it back. Its speed is not observed; it shows in the joint's
    own speed and in how far the joint lags behind.
    """
    expected = o.position + LAG * o.velocity
    q = o.last_action + sag(o.last_action)
    off = np.where(np.all(np.abs(o.last_action) < 1e-6, axis=1)[:, None], 0.0, q - expected)
    # A closed gripper stands still at the cube while its goal goes on.
    near = np.where(np.arange(7) == 6, 0.2, 0.08)
    q = expected + np.clip(off, -near, near)
    v = o.velocity + 0.5 * np.clip(off / LAG, -0.4, 0.4) * MOVES_FREELY
    return q, np.clip(v, -SPEED, SPEED)


def plan(observation: Array) -> Array:
    """Joint goals (N, 50, 7) in rad for observations (N, 28); the first is meant for the observation's moment."""
    o = split(observation)
    q, v = reference(o)
    grip = o.position[:, 6].copy()
    cube, drift = o.object_position.copy(), o.object_velocity.copy()
    present = o.object_present.copy()
    hand = forward(o.position)
    near = np.linalg.norm(cube - hand, axis=1) < 0.016
    held = present & near & (grip < CONTACT + 0.05) & (grip > CLOSED + 0.03) & (q[:, 6] < CLOSED + 0.06)
    drift[:, [0, 2]] = 0.0

    out = np.empty((len(q), HORIZON, 7))
    out[:, 0] = q - sag(q)
    dt = 1.0 / RATE
    for k in range(1, HORIZON):
        q, v = _step(q, v, cube, drift, present, held, grip, dt)
        out[:, k] = q - sag(q)
        # The model of the world: the servo's lag, the belt, the grasp, the fall.
        p = forward(q)
        ahead = cube + drift * LEAD
        around = present & (np.hypot(p[:, 0] - ahead[:, 0], p[:, 1] - ahead[:, 1]) < 0.012)
        around &= np.abs(p[:, 2] - cube[:, 2]) < 0.014
        grip += (q[:, 6] - grip) * dt / 0.035
        grip = np.where((around | held) & (q[:, 6] < CONTACT), np.maximum(grip, CONTACT), grip)
        held = (held & (q[:, 6] < CONTACT)) | (around & (q[:, 6] < CLOSED + 0.04) & (grip < CONTACT + 0.03))
        over_bin = _over_bin(p)
        present &= ~(over_bin & ~held & (grip > CONTACT + 0.06))
        cube = np.where(held[:, None], p, cube + drift * dt)
        drift = np.where(held[:, None], 0.0, drift)
    return out


def _over_bin(p: Array) -> NDArray[np.bool_]:
    return np.hypot(p[:, 0] - BIN[0], p[:, 1] - BIN[1]) < 0.03


def _step(
    q: Array,
    v: Array,
    cube: Array,
    drift: Array,
    present: NDArray[np.bool_],
    held: NDArray[np.bool_],
    grip: Array,
    dt: float,
) -> tuple[Array, Array]:
    """One step of the feedback law: new reference angles and speeds (N, 7)."""
    n = len(q)
    p = forward(q)
    ahead = cube + drift * LEAD
    over_bin = _over_bin(p)
    release = over_bin & (q[:, 6] < LET_GO)
    carry = held & ~release
    on_belt = (np.abs(cube[:, 2] - BELT_TOP - CUBE_HALF) < 0.02) & (np.abs(cube[:, 0] - BELT_X) < 0.06)
    pick = present & ~held & ~release & on_belt & (ahead[:, 1] > GIVE_UP_Y)

    target = np.tile(np.asarray(READY), (n, 1))
    speed = np.zeros((n, 3))
    gripper = np.full(n, OPEN)

    # Pick: wait over the belt, follow the cube, sink as far as it is below the fingers, squeeze at the bottom.
    follow = pick & (ahead[:, 1] < WAIT_Y)
    off = np.hypot(p[:, 0] - ahead[:, 0], p[:, 1] - ahead[:, 1])
    low = p[:, 2] < GRASP_Z + 0.006
    squeezing = (q[:, 6] < OPEN - 0.1) & low & (off < 0.012) & (grip > CLOSED + 0.03)
    squeeze = follow & ((low & (off < 0.005)) | squeezing)
    wide = (grip > OPEN - 0.12) | squeeze
    height = np.where(follow & wide, np.clip((off - 0.004) * 3.0, 0.0, HOVER), HOVER)
    target = np.where(
        pick[:, None], np.stack((cube[:, 0], np.minimum(ahead[:, 1], WAIT_Y), GRASP_Z + height), 1), target
    )
    speed[:, 1] = np.where(follow, drift[:, 1], 0.0)
    gripper = np.where(squeeze, CLOSED, gripper)

    # Carry: up first, then over to the bin; let go there.
    free = np.clip((p[:, 2] - GRASP_Z - 0.012) / 0.04, 0.0, 1.0)[:, None]
    bin_xy = np.asarray(BIN)
    over = np.concatenate((p[:, :2] * (1 - free) + bin_xy * free, np.full((n, 1), CARRY_Z)), 1)
    target = np.where(carry[:, None], over, target)
    gripper = np.where(carry, CLOSED, gripper)
    target = np.where(release[:, None], np.array([BIN[0], BIN[1], CARRY_Z]), target)

    goal = inverse(target)
    rate = (inverse(target + speed * dt) - goal) / dt
    goal = np.concatenate((goal, gripper[:, None]), 1)
    rate = np.concatenate((rate, np.zeros((n, 1))), 1)
    error = goal - q
    approach = np.minimum(GAIN * np.abs(error), np.sqrt(1.2 * ACCELERATION * np.abs(error)))
    # No haste without need: so a plan made just before a cube appeared is still nearly right.
    calm = ~(follow | carry | release)
    approach = np.where(calm[:, None], np.minimum(approach, CALM_GAIN * np.abs(error)), approach)
    wish = np.clip(rate + np.sign(error) * approach, -SPEED, SPEED)
    v = v + np.clip(wish - v, -ACCELERATION * dt, ACCELERATION * dt)
    return q + v * dt, v
