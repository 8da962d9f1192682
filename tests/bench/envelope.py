"""What the envelope of twelve joints costs, with each of its optional limits: `python -m tests.bench.envelope`.

Each figure is the time of one `Envelope.apply`, with the caches as cold as in a tick: between two calls, as much
memory as they hold is read. The ratio is that to the plain envelope, which takes turns with the others.
"""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from drivers.joint import Joint
from drivers.state import Floats, JointState
from runtime.control.histogram import Histogram
from safety.envelope import Envelope
from safety.workspace.kinematics import Kinematics
from safety.workspace.options import WorkspaceOptions

JOINTS, PERIOD_S = 12, 0.002
TICKS = 4000
CACHE_BYTES = 4_000_000


def measure() -> list[dict[str, Any]]:
    """One row for each kind of envelope and each kind of goal: p50 and p99, us, and the ratio of the p50."""
    with tempfile.TemporaryDirectory() as folder:
        made = _envelopes(Path(folder))
    rows = []
    for goals, kind in ((_smooth(), "a smooth goal"), (_steps(), "steps, limits act")):
        costs = {name: Histogram() for name in made}
        cache, out = np.zeros(CACHE_BYTES // 8), np.empty(JOINTS)
        for envelope in made.values():
            envelope.reset(np.zeros(JOINTS))
        for goal in goals:
            for name, envelope in made.items():
                cache.sum()
                began = time.perf_counter_ns()
                envelope.apply(goal, out)
                costs[name].add(time.perf_counter_ns() - began)
        plain = costs["plain"].summary_us()["p50"]
        for name, cost in costs.items():
            told = cost.summary_us()
            rows.append(
                {
                    "envelope": name,
                    "goal": kind,
                    "p50": told["p50"],
                    "p99": told["p99"],
                    "ratio": round(told["p50"] / plain, 1),
                }
            )
    return rows


def _envelopes(folder: Path) -> dict[str, Envelope]:
    state = JointState(JOINTS)
    state.measured[:] = 0.0
    (folder / "chain.xml").write_text(_model())
    options = WorkspaceOptions.model_validate(
        {
            "model": folder / "chain.xml",
            "tool": "tip",
            "planes": [{"normal": (0, 0, 1), "offset": -5.0}],
            "box": {"min": (-5, -5, -5), "max": (5, 5, 5)},
            "capsule": [
                {"body": f"b{i}", "start": (0.02, 0, 0), "end": (0.08, 0, 0), "radius": 0.02}
                for i in range(JOINTS)
            ],
        }
    )
    borders = options.model_copy(update={"capsule": ()})
    jerky, soft = {"jerk_max": 4000.0}, {"torque_rate_max": 1e4, "torque_max": 1e3, "kp": 50.0, "kd": 1.0}
    return {
        "plain": Envelope(_joints(), PERIOD_S),
        "with jerk": Envelope(_joints(**jerky), PERIOD_S),
        "with smoothing and torque": Envelope(_joints(smoothing=0.02, **soft), PERIOD_S, state),
        "with workspace": Envelope(_joints(), PERIOD_S, None, Kinematics(borders, _joints())),
        "with workspace, self-collision": Envelope(_joints(), PERIOD_S, None, Kinematics(options, _joints())),
        "with all of them": Envelope(
            _joints(smoothing=0.02, **jerky, **soft), PERIOD_S, state, Kinematics(options, _joints())
        ),
    }


def _joints(**more: float) -> list[Joint]:
    limits = {"position_min": -2.0, "position_max": 2.0, "velocity_max": 3.0, "acceleration_max": 40.0}
    return [Joint(name=f"j{i}", bus="b", id=i, model="m", **(limits | more)) for i in range(JOINTS)]


def _model() -> str:
    """A chain of twelve links of 0.1 m, bent sideways and up by turns."""
    opening = "".join(
        f'<body name="b{i}" pos="0.1 0 0"><joint name="j{i}" axis="0 {i % 2} {1 - i % 2}"/><geom size="0.01"/>'
        for i in range(JOINTS)
    )
    tip = '<site name="tip" pos="0.1 0 0"/>'
    return f"<mujoco><worldbody>{opening}{tip}{'</body>' * JOINTS}</worldbody></mujoco>"


def _smooth() -> list[Floats]:
    phase = np.arange(JOINTS)
    return [0.1 * np.sin(2 * math.pi * 0.5 * k * PERIOD_S + phase) for k in range(TICKS)]


def _steps() -> list[Floats]:
    rng = np.random.default_rng(0)
    return [goal for _ in range(TICKS // 100) for goal in [rng.uniform(-0.15, 0.15, JOINTS)] * 100]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| envelope of 12 joints | goals | p50 us | p99 us | times plain |", "|---|---|---|---|---|"]
    lines += ["| {envelope} | {goal} | {p50:.0f} | {p99:.0f} | {ratio} |".format(**row) for row in rows]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure()))
