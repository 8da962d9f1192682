from __future__ import annotations

import numpy as np
import pytest

from drivers.state import JointState
from runtime.recording.trace import TraceRing


def ring(capacity: int = 8) -> TraceRing:
    return TraceRing(["a", "B"], {"imu": {"gyro": 3}}, ["vx"], capacity)


def fill(trace: TraceRing, first: int, count: int) -> None:
    for number in range(first, first + count):
        state = JointState(2)
        state.position[:] = [number, -number]
        state.stamp_ns[:] = number * 1000 - 500
        state.fault[:] = [0, 9]
        tail = [np.array([1.0, 2.0, 3.0]), np.array([float(number)])]
        plan, command = np.array([0.1, 0.2]), np.array([0.3, 0.4])
        trace.append(
            (number, number * 1000, 7, 8, 2, True, False, 0.5), state, plan, command, np.array([0, 4]), tail
        )


def test_records_come_out_once_in_order_with_all_that_went_in() -> None:
    trace = ring()
    fill(trace, 0, 3)
    assert trace.take(2)["tick"].tolist() == [0, 1]
    assert trace.take(9)["tick"].tolist() == [2]
    assert len(trace.take(9)) == 0
    fill(trace, 3, 6)
    rows = trace.take(9)
    assert rows["tick"].tolist() == [3, 4, 5, 6, 7, 8]
    last = rows[-1]
    assert last["joints"]["position"].tolist() == [8, -8]
    assert np.isnan(last["joints"]["torque"]).all()
    assert last["joints"]["age_s"] == pytest.approx([0.5e-6, 0.5e-6])
    assert last["joints"]["plan"].tolist() == [0.1, 0.2]
    assert last["joints"]["command"].tolist() == [0.3, 0.4]
    assert last["joints"]["limits"].tolist() == [0, 4]
    assert last["joints"]["fault"].tolist() == [0, 9]
    assert last["tail"].tolist() == [1, 2, 3, 8]
    assert (last["mode"], last["gate"], last["starved"], last["plan_ahead_s"]) == (2, 1, 0, 0.5)
    assert trace.dropped == 0


def test_a_slow_reader_loses_the_oldest_and_they_are_counted() -> None:
    trace = ring(8)
    fill(trace, 0, 20)
    rows = trace.take(100)
    assert rows["tick"].tolist() == list(range(12, 20))
    assert trace.dropped == 12


def test_records_do_not_change_after_the_tick() -> None:
    trace, state, plan = ring(), JointState(2), np.zeros(2)
    trace.append((0, 0, 0, 0, 0, 0, 0, 0), state, plan, plan, np.zeros(2, np.int64), [np.zeros(4)])
    plan[:] = 5
    state.position[:] = 5
    assert trace.take(1)["joints"]["plan"].tolist() == [[0, 0]]


def test_definition_names_joints_sensors_and_commands() -> None:
    lines = ring().definition.splitlines()
    for line in ("reflexd/Joint a", "reflexd/Joint b", "float64[3] imu_gyro", "float64 command_vx"):
        assert line in lines
