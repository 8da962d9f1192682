from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest

from drivers.errors import SensorError
from drivers.sensors.datagram import DATAGRAMS_AT_ONCE, DatagramOptions, DatagramSensor


def options(path: Path) -> DatagramOptions:
    return DatagramOptions(name="imu", type="datagram", fields={"gyro": 3, "upright": 1}, path=path)


@pytest.fixture
async def sensor(tmp_path: Path) -> AsyncIterator[DatagramSensor]:
    sensor = DatagramSensor(options(tmp_path / "imu.sock"))
    await sensor.open()
    yield sensor
    await sensor.close()


@pytest.fixture
def sender(sensor: DatagramSensor, tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(os.fspath(tmp_path / "imu.sock"))
        sender.settimeout(5)
        yield sender


def datagram(stamp_ns: int, *values: float) -> bytes:
    return struct.pack(f"<Q{len(values)}d", stamp_ns, *values)


async def test_fields_and_values(sensor: DatagramSensor, sender: socket.socket) -> None:
    assert sensor.fields == {"gyro": slice(0, 3), "upright": slice(3, 4)}
    assert np.isnan(sensor.values).all()
    assert sensor.stamp_ns == 0
    sender.send(datagram(1000, 0.1, 0.2, 0.3, 1.0))
    sensor.read(2000)
    np.testing.assert_array_equal(sensor.values, [0.1, 0.2, 0.3, 1.0])
    assert sensor.stamp_ns == 1000


async def test_the_newest_of_several_is_taken(sensor: DatagramSensor, sender: socket.socket) -> None:
    for number in range(1, 6):
        sender.send(datagram(number, number, 0, 0, 0))
    sensor.read(100)
    assert sensor.values[0] == 5
    assert sensor.stamp_ns == 5
    assert sensor.received == 5


async def test_nothing_new_changes_nothing(sensor: DatagramSensor, sender: socket.socket) -> None:
    sender.send(datagram(10, 1, 2, 3, 4))
    sensor.read(20)
    sensor.read(30)
    assert sensor.stamp_ns == 10
    np.testing.assert_array_equal(sensor.values, [1, 2, 3, 4])


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"x",
        datagram(20, 1, 2, 3),
        datagram(20, 1, 2, 3, 4, 5),
        datagram(20, 1, 2, 3, 4) + b"\x00",
        datagram(20, 1, 2, 3, float("nan")),
        datagram(20, float("inf"), 2, 3, 4),
        datagram(20, 1, float("-inf"), float("inf"), 4),
    ],
)
async def test_malformed_datagrams_are_counted_and_dropped(
    sensor: DatagramSensor, sender: socket.socket, bad: bytes
) -> None:
    sender.send(datagram(10, 1, 2, 3, 4))
    sender.send(bad)
    sensor.read(100)
    assert sensor.malformed == 1
    assert sensor.stamp_ns == 10
    np.testing.assert_array_equal(sensor.values, [1, 2, 3, 4])


async def test_large_finite_values_are_good(sensor: DatagramSensor, sender: socket.socket) -> None:
    sender.send(datagram(10, 1e300, -1e300, 0, 0))
    sensor.read(100)
    assert sensor.values[0] == 1e300
    assert sensor.malformed == 0


async def test_older_and_equal_times_are_dropped(sensor: DatagramSensor, sender: socket.socket) -> None:
    for stamp in (10, 9, 10):
        sender.send(datagram(stamp, stamp, 0, 0, 0))
    sensor.read(100)
    assert sensor.stamp_ns == 10
    assert sensor.stale == 2


async def test_times_from_the_future_are_dropped(sensor: DatagramSensor, sender: socket.socket) -> None:
    now_ns = time.monotonic_ns()
    sender.send(datagram(now_ns + 3_600_000_000_000, 1, 0, 0, 0))
    sender.send(datagram(2**64 - 1, 1, 0, 0, 0))
    sensor.read(now_ns)
    assert sensor.stale == 2
    assert sensor.stamp_ns == 0


async def test_a_measurement_taken_during_the_tick_is_good(sensor: DatagramSensor, sender: socket.socket) -> None:
    tick_ns = time.monotonic_ns()
    measured_ns = time.monotonic_ns() + 1
    sender.send(datagram(measured_ns, 1, 0, 0, 0))
    sensor.read(tick_ns)
    assert sensor.stamp_ns == measured_ns


async def test_the_kernel_is_not_asked_for_what_is_not_due(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Waiting:
        def __init__(self) -> None:
            self.stamps = [1000]
            self.asked = 0

        def recv(self, size: int) -> bytes:
            self.asked += 1
            if not self.stamps:
                raise BlockingIOError
            return datagram(self.stamps.pop(0), 1, 2, 3, 4)

    waiting = Waiting()
    sensor = DatagramSensor(options(tmp_path / "imu.sock"))
    monkeypatch.setattr(sensor, "_socket", waiting)
    sensor.read(1500)
    assert (sensor.stamp_ns, waiting.asked) == (1000, 1)
    waiting.stamps = [2000]
    sensor.read(2999)
    assert (sensor.stamp_ns, waiting.asked) == (2000, 2), "the next one is due at 3000"
    waiting.stamps = [3000]
    sensor.read(4000)
    assert (sensor.stamp_ns, waiting.asked) == (3000, 4), "it might be there"
    waiting.stamps = [9000, 10_000]  # after a silence nobody knows when the next one is due
    sensor.read(10_500)
    assert sensor.stamp_ns == 9000
    sensor.read(10_900)
    assert (sensor.stamp_ns, waiting.asked) == (10_000, 6)


async def test_a_flood_does_not_hold_the_tick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Flood:
        def __init__(self) -> None:
            self.count = 0

        def recv(self, size: int) -> bytes:
            self.count += 1
            return datagram(self.count, 1, 2, 3, 4)

    flood = Flood()
    sensor = DatagramSensor(options(tmp_path / "imu.sock"))
    monkeypatch.setattr(sensor, "_socket", flood)
    sensor.read(10**9)
    assert flood.count == DATAGRAMS_AT_ONCE
    assert sensor.stamp_ns == DATAGRAMS_AT_ONCE


async def test_reading_before_open_does_nothing(tmp_path: Path) -> None:
    sensor = DatagramSensor(options(tmp_path / "imu.sock"))
    sensor.read(1)
    await sensor.close()
    assert sensor.stamp_ns == 0


async def test_a_socket_left_behind_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "imu.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(os.fspath(path))
    sensor = DatagramSensor(options(path))
    await sensor.open()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(datagram(1, 1, 2, 3, 4), os.fspath(path))
    sensor.read(2)
    assert sensor.stamp_ns == 1
    await sensor.close()
    assert not path.exists()


async def test_a_live_reader_keeps_its_socket(sensor: DatagramSensor, tmp_path: Path) -> None:
    second = DatagramSensor(options(tmp_path / "imu.sock"))
    with pytest.raises(SensorError, match="another process reads"):
        await second.open()
    await second.close()
    assert (tmp_path / "imu.sock").exists()


async def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "imu.sock"
    path.write_text("precious")
    with pytest.raises(SensorError, match="not a socket"):
        await DatagramSensor(options(path)).open()
    assert path.read_text() == "precious"


async def test_a_path_that_is_too_long_is_named(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match=r"108 bytes.*at most 107"):
        await DatagramSensor(options(Path("/" + "x" * 107))).open()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SensorError, match="folder must exist"):
        await DatagramSensor(options(tmp_path / "none" / "imu.sock")).open()
