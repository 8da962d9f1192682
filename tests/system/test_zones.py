"""Zones with the real processes: scans and poses come through the sensors' sockets."""

from __future__ import annotations

import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.link.errors import Refused

pytestmark = pytest.mark.system

SENSORS = (
    'sensor=[{{name="{name}",type="datagram",path="{{run}}/zone.sock",fields={{{field}={width}}},max_age=0.5}}]'
)
FIELD = 'safety.protective_field.front={ranges="lidar.ranges",slow=2.0,stop=1.0,action="hold",clear="gone"}'
FENCE = 'safety.geofence.hall={pose="base.pose",border=[[0,0],[4,0],[4,4],[0,4]],slow=1.0,stop=0.5}'


class Sender:
    """Sends the same values again and again, with the time of now, until it is closed."""

    def __init__(self, path: Path, *values: float) -> None:
        self.values: tuple[float, ...] = values
        self._path = str(path)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._thread.start()

    def _send(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as out:
            while not self._closed.wait(0.02):
                try:
                    stamp = struct.pack(f"<Q{len(self.values)}d", time.monotonic_ns(), *self.values)
                    out.sendto(stamp, self._path)
                except OSError:  # the daemon does not listen, or is behind
                    continue

    def close(self) -> None:
        self._closed.set()
        self._thread.join()


@pytest.fixture
def sending() -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def send(rig: Any, *values: float) -> Sender:
        made.append(Sender(rig.config.places.run / "zone.sock", *values))
        return made[-1]

    yield send
    for each in made:
        each.close()


def test_somebody_comes_near_and_goes(make_rig: Callable[..., Any], sending: Callable[..., Sender]) -> None:
    rig = make_rig(SENSORS.format(name="lidar", field="ranges", width=3), FIELD)
    scan = sending(rig, 9.0, 9.0, 9.0)
    run(rig)
    for ranges, called_for in (((9.0, 1.5, 9.0), "slow"), ((9.0, 9.0, 0.5), "hold")):
        scan.values = ranges
        rig.wait(lambda called_for=called_for: actions(rig)[-1:] == [called_for], what=f"{called_for} at {ranges}")
    assert rig.status()["stop"]["category"] == 2
    rig.wait(lambda: not any(rig.moving()), what="it stands")
    scan.values = (9.0, 9.0, 9.0)
    rig.wait(lambda: rig.status()["stop"]["category"] is None, what="nobody is near any more")
    assert rig.status()["drive_enable"], "power was never taken away"


def test_a_scanner_that_falls_silent_stops_the_robot(
    make_rig: Callable[..., Any], sending: Callable[..., Sender]
) -> None:
    rig = make_rig(SENSORS.format(name="lidar", field="ranges", width=3), FIELD)
    scan = sending(rig, 9.0, 9.0, 9.0)
    run(rig)
    scan.close()
    rig.wait(lambda: rig.status()["stop"]["category"] == 2, what="a stop")
    assert "no usable reading" in str(rig.status()["stop"]["reasons"])
    rig.wait(lambda: not any(rig.moving()), what="it stands")


def test_beyond_a_fence_the_robot_stops_until_a_person_resets_it(
    make_rig: Callable[..., Any], sending: Callable[..., Sender]
) -> None:
    rig = make_rig(SENSORS.format(name="base", field="pose", width=3), FENCE)
    pose = sending(rig, 2.0, 2.0, 0.0)
    run(rig)
    pose.values = (3.8, 2.0, math.pi)
    rig.wait(lambda: rig.status()["mode"] == "FAULT", what="a controlled stop, then power off")
    assert "border of geofence hall" in str(rig.status()["stop"]["reasons"])
    with pytest.raises(Refused):
        rig.daemon.request("reset")
    pose.values = (2.0, 2.0, math.pi)

    def reset() -> bool:
        try:
            rig.daemon.request("reset")
        except Refused:
            return False
        return True

    rig.wait(reset, what="a reset, once the base is back")
    assert rig.status()["mode"] == "STANDBY"


def run(rig: Any) -> None:
    """Run the policy as soon as the zone has been well for its time."""
    rig.wait(lambda: rig.status()["sensors"][0]["age_s"], what="the first reading")
    rig.wait(lambda: not rig.status()["stop"]["reasons"], what="the zone is clear")
    rig.run_policy()


def actions(rig: Any) -> list[str]:
    """What the flags called for, in order."""
    events = rig.daemon.request("events", since=0)["events"]
    return [event["fields"]["action"] for event in events if event["name"] == "safety.flag"]
