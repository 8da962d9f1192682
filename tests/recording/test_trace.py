from __future__ import annotations

from runtime.recording.trace import TraceRing


def ring(capacity: int = 8) -> TraceRing:
    return TraceRing(["a", "B"], {"imu": {"gyro": 3}}, ["vx"], capacity)


def fill(trace: TraceRing, count: int) -> None:
    for _ in range(count):
        slot = trace.slot()
        trace.tick["tick"][slot] = trace.head
        trace.joint["position"][slot] = [trace.head, -trace.head]
        trace.tail[slot] = [1, 2, 3, trace.head]
        trace.publish()


def test_records_come_out_once_in_order() -> None:
    trace = ring()
    fill(trace, 3)
    assert trace.take(2)["tick"].tolist() == [0, 1]
    assert trace.take(9)["tick"].tolist() == [2]
    assert len(trace.take(9)) == 0
    fill(trace, 6)
    rows = trace.take(9)
    assert rows["tick"].tolist() == [3, 4, 5, 6, 7, 8], "also across the end of the ring"
    assert rows["joints"]["position"][-1].tolist() == [8, -8]
    assert rows["tail"][0].tolist() == [1, 2, 3, 3]
    assert trace.dropped == 0


def test_a_slow_reader_loses_the_oldest_and_they_are_counted() -> None:
    trace = ring(8)
    fill(trace, 20)
    rows = trace.take(100)
    assert rows["tick"].tolist() == list(range(13, 20))
    assert trace.dropped == 13


def test_taken_records_are_copies() -> None:
    trace = ring()
    fill(trace, 1)
    taken = trace.take(1)
    fill(trace, 8)
    assert taken["tick"].tolist() == [0]


def test_definition_names_joints_sensors_and_commands() -> None:
    lines = ring().definition.splitlines()
    for line in ("reflexd/Joint a", "reflexd/Joint b", "float64[3] imu_gyro", "float64 command_vx"):
        assert line in lines
