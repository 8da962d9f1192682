from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.state import JointState
from runtime.recording.ring import TraceReader, TraceRing
from runtime.recording.trace import TraceLayout


def ring(capacity: int = 8) -> TraceRing:
    return TraceRing(TraceLayout(["a", "B"], {"imu": {"gyro": 3}}, ["vx"]), capacity)


def reader(trace: TraceRing) -> TraceReader:
    layout = TraceLayout(*trace.layout.names)
    return TraceReader(layout, trace.capacity, trace.descriptor)


def take(end: TraceReader, limit: int) -> NDArray[np.void]:
    end.look()
    end.look()
    return end.take(limit)


def fill(trace: TraceRing, first: int, count: int) -> None:
    for number in range(first, first + count):
        state = JointState(2)
        state.position[:] = [number, -number]
        state.stamp_ns[:] = number * 1000 - 500
        state.fault[:] = [0, 9]
        tail = [np.array([1.0, 2.0, 3.0]), np.array([float(number)])]
        plan, command = np.array([0.1, 0.2]), np.array([0.3, 0.4])
        head = (number, number * 1000, 7, 8, 2, True, False, 0.5, 3, True, number * 1000 - 2000)
        trace.append(head, state, plan, command, np.array([0, 4]), tail)


def test_records_come_out_once_in_order_with_all_that_went_in() -> None:
    trace = ring()
    end = reader(trace)
    fill(trace, 0, 3)
    assert take(end, 2)["tick"].tolist() == [0, 1]
    assert take(end, 9)["tick"].tolist() == [2]
    assert len(take(end, 9)) == 0
    fill(trace, 3, 6)
    rows = take(end, 9)
    assert rows["tick"].tolist() == [3, 4, 5, 6, 7, 8]
    last = rows[-1]
    assert last["joints"]["position"].tolist() == [8, -8]
    assert np.isnan(last["joints"]["torque"]).all()
    assert last["joints"]["age_s"] == pytest.approx([0.5e-6, 0.5e-6])
    assert last["joints"]["plan"].tolist() == [0.1, 0.2]
    assert last["joints"]["command"].tolist() == [0.3, 0.4]
    assert last["joints"]["limits"].tolist() == [0, 4]
    assert last["joints"]["fault"].tolist() == [0, 9]
    assert last["tail"].tolist() == [1, 2, 3, pytest.approx(2e-6), 8], "a sensor's values, their age; a command"
    assert (last["episode"], last["intervention"]) == (3, 1)
    assert (last["mode"], last["gate"], last["starved"], last["plan_ahead_s"]) == (2, 1, 0, 0.5)
    assert trace.dropped == 0


def test_a_slow_reader_loses_the_oldest_and_they_are_counted() -> None:
    trace = ring(8)
    end = reader(trace)
    fill(trace, 0, 20)
    # One place less than there are: the tick may be writing into it.
    assert take(end, 5)["tick"].tolist() == [13, 14]
    assert end.take(5)["tick"].tolist() == [15, 16, 17, 18, 19]
    assert trace.dropped == 0, "another reader would find the same"
    end.done(0)
    assert trace.dropped == 13


def test_a_record_is_taken_at_the_look_after_the_one_that_saw_it() -> None:
    trace = ring()
    end = reader(trace)
    fill(trace, 0, 1)
    end.look()
    assert len(end.take(9)) == 0
    fill(trace, 1, 1)
    end.look()
    assert end.take(9)["tick"].tolist() == [0]


def test_records_of_a_time_and_later_can_wait() -> None:
    trace = ring()
    end = reader(trace)
    fill(trace, 0, 5)
    end.look()
    end.look()
    assert end.take(9, before_ns=3000)["tick"].tolist() == [0, 1, 2]
    assert len(end.take(9, before_ns=3000)) == 0
    assert end.take(9, before_ns=3001)["tick"].tolist() == [3]
    assert end.take(9)["tick"].tolist() == [4]


def test_another_reader_begins_behind_what_the_first_has_written() -> None:
    trace = ring()
    first = reader(trace)
    fill(trace, 0, 2)
    assert len(take(first, 9)) == 2
    first.done(100)
    fill(trace, 2, 1)
    assert len(take(first, 9)) == 1
    assert take(reader(trace), 9)["tick"].tolist() == [2]
    assert trace.file_bytes == 100


def test_records_do_not_change_after_the_tick() -> None:
    trace, state, plan = ring(), JointState(2), np.zeros(2)
    end = reader(trace)
    trace.append((0,) * 11, state, plan, plan, np.zeros(2, np.int64), [np.zeros(4)])
    plan[:] = 5
    state.position[:] = 5
    assert take(end, 1)["joints"]["plan"].tolist() == [[0, 0]]


def test_definition_names_joints_sensors_and_commands() -> None:
    lines = ring().layout.definition.splitlines()
    for line in (
        "reflexd/Joint a",
        "reflexd/Joint b",
        "float64[3] imu_gyro",
        "float64 imu_age_s",
        "float64 command_vx",
    ):
        assert line in lines
    assert "float64 imu_age_s" in lines
