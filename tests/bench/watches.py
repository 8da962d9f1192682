"""What a look of all watches costs: the safety thread goes before the loop, so that the loop waits for it."""

from __future__ import annotations

import gc
import math
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from drivers.state import JointState
from runtime.config.load import build
from runtime.config.paths import places
from runtime.control.histogram import Histogram
from runtime.watches import build_watches
from safety.gate import Gate
from tests import robots

WARM_UP, LOOKS = 500, 5000
PERIOD_NS = 5_000_000

WATCHED = """
[[sensor]]
name = "base"
type = "datagram"
path = "{run}/base.sock"
fields = { pose = 3, orientation = 4, ranges = 360 }
[safety.monitor]
following_error = { stop = 0.5 }
torque_error = { stop = 2.0 }
collision = { stop = 4.0 }
oscillation = { stop = 3.0, amplitude = 0.5 }
grip_stall = { stop = 3.0, only = ["j0"] }
temperature = { warn = 70.0, stop = 80.0 }
voltage = { warn = 20.0, stop = 18.0 }
tilt = { orientation = "base.orientation", stop = 0.8 }
sensor_age = { stop = { base = 0.3 } }
[safety.geofence.hall]
pose = "base.pose"
border = [[0, 0], [4, 0], [6, 2], [4, 4], [2, 3], [0, 4]]
slow = 0.5
[safety.protective_field.front]
ranges = "base.ranges"
angle_increment = 0.01
sector = [1.0, 2.0]
slow = 2.0
stop = 1.0
"""


def look_cost(folder: Path, joints: int) -> dict[str, Any]:
    """All monitors and two zones of a robot that moves and is well; with `p50`, `p99` and `max`, us."""
    path = robots.write(folder, [("damiao", 3)] * (joints // 3), 100.0, WATCHED)
    config = build(path, tomllib.loads(path.read_text()), places(folder))
    state, command, gate = JointState(joints), np.zeros(joints), Gate()
    sensors = [plan.driver(plan.options) for plan in config.sensors]
    watches = build_watches(config, state, sensors, lambda: command, gate)
    gate.permit()
    gate.open()
    state.measured[3:] = np.array([[40.0], [24.0]])
    sensors[0].values[:] = [2.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0, *[9.0] * 360]
    cost = Histogram()
    gc.collect()
    for look in range(WARM_UP + LOOKS):
        now_ns = (look + 1) * PERIOD_NS
        phase = 2 * math.pi * now_ns / 1e9
        command[:], state.position[:], state.velocity[:] = math.sin(phase), math.sin(phase), math.cos(phase)
        state.torque[:] = -2 * math.cos(phase)
        state.stamp_ns[:] = sensors[0].stamp_ns = now_ns
        began_ns = time.perf_counter_ns()
        flags = [flag for watch in watches for flag in watch.look(now_ns)]
        if look >= WARM_UP:
            cost.add(time.perf_counter_ns() - began_ns)
        if any(flag.name != "clock_step" for flag in flags):
            raise RuntimeError(f"the robot should be well: {flags[0].text}")
    return {"joints": joints, **cost.summary_us()}
