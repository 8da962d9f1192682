from __future__ import annotations

import errno
import os
import select
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpiod
import pytest
from gpiod.line import Bias, Direction, Edge, Value
from pydantic import TypeAdapter, ValidationError

from drivers.errors import LineError
from drivers.gpio.lines import open_input, open_output
from drivers.gpio.options import EmulatedLine, GpioLine, LineOptions

# Options ----------------------------------------------------------------------------------------------------


def test_options_tell_the_kinds_apart() -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(LineOptions)
    real = adapter.validate_python({"type": "gpio", "chip": "/dev/gpiochip0", "line": 17, "active_low": True})
    emulated = adapter.validate_python({"type": "emulated", "path": "/run/gpio.sock", "line": "estop"})
    assert real == GpioLine(type="gpio", chip="/dev/gpiochip0", line=17, active_low=True)
    assert emulated == EmulatedLine(type="emulated", path=Path("/run/gpio.sock"), line="estop")
    with pytest.raises(ValidationError, match="type"):
        adapter.validate_python({"type": "sysfs", "line": 17})


# A real chip, through a stand-in for libgpiod -----------------------------------------------------------------


class StandInRequest:
    """What `gpiod.request_lines` gives; a pipe is the descriptor that tells of edges."""

    def __init__(self, path: str, config: dict[Any, Any], consumer: str) -> None:
        self.path, self.consumer = path, consumer
        ((self.line, self.settings),) = config.items()
        self.value = self.settings.output_value
        self.driven: list[Value] = []
        self.error: OSError | None = None
        self.released = False
        self.fd, self._edges = os.pipe()

    def edge(self, value: Value) -> None:
        self.value = value
        os.write(self._edges, b"e")

    def hang_up(self) -> None:
        os.close(self._edges)
        self._edges = -1

    def read_edge_events(self) -> list[Any]:
        return list(os.read(self.fd, 64))

    def get_value(self, line: int | str) -> Value:
        assert line == self.line
        if self.error:
            raise self.error
        return self.value

    def set_value(self, line: int | str, value: Value) -> None:
        assert line == self.line
        if self.error:
            raise self.error
        self.driven.append(value)

    def release(self) -> None:
        if not self.released:
            self.released = True
            os.close(self.fd)
            if self._edges >= 0:
                os.close(self._edges)


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[StandInRequest]]:
    made: list[StandInRequest] = []

    def request_lines(path: str, config: dict[Any, Any], consumer: str) -> StandInRequest:
        made.append(StandInRequest(path, config, consumer))
        return made[-1]

    monkeypatch.setattr(gpiod, "request_lines", request_lines)
    yield made
    for request in made:
        request.release()


REAL = GpioLine(type="gpio", chip="/dev/gpiochip0", line="ESTOP", active_low=True, bias="pull_up")


def readable(line: Any) -> bool:
    return bool(select.select([line.fileno()], [], [], 0)[0])


def test_an_input_is_requested_with_both_edges(requests: list[StandInRequest]) -> None:
    open_input(REAL).close()
    (request,) = requests
    assert (request.path, request.line, request.consumer) == ("/dev/gpiochip0", "ESTOP", "reflexd")
    assert request.settings.direction is Direction.INPUT
    assert request.settings.edge_detection is Edge.BOTH
    assert request.settings.bias is Bias.PULL_UP
    assert request.settings.active_low is True
    assert request.released


def test_reading_drains_the_edges_and_gives_the_level(requests: list[StandInRequest]) -> None:
    line = open_input(REAL)
    assert line.read() is False
    for value in (Value.ACTIVE, Value.INACTIVE, Value.ACTIVE):
        requests[0].edge(value)
    assert readable(line)
    assert line.read() is True
    assert not readable(line)
    line.close()


def test_a_chip_that_is_pulled_out_is_an_error_and_shows_on_the_descriptor(
    requests: list[StandInRequest],
) -> None:
    line = open_input(REAL)
    requests[0].hang_up()
    assert readable(line)
    with pytest.raises(LineError, match=r"ESTOP of /dev/gpiochip0 cannot be read: .*removed; .*check its"):
        line.read()
    line.close()


def test_a_failing_level_is_an_error(requests: list[StandInRequest]) -> None:
    line = open_input(REAL)
    requests[0].error = OSError(errno.ENODEV, "No such device")
    with pytest.raises(LineError, match="No such device"):
        line.read()
    line.close()


def test_a_line_that_chatters_does_not_hold_its_reader(
    requests: list[StandInRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = open_input(REAL)
    requests[0].edge(Value.ACTIVE)
    monkeypatch.setattr(requests[0], "read_edge_events", list)  # new edges faster than they are read
    assert line.read() is True
    line.close()


def test_an_output_starts_inactive_and_ends_inactive(requests: list[StandInRequest]) -> None:
    line = open_output(REAL, "a test")
    (request,) = requests
    assert request.consumer == "a test"
    assert request.settings.direction is Direction.OUTPUT
    assert request.settings.output_value is Value.INACTIVE
    line.set(True)
    line.close()
    line.close()
    assert request.driven[:2] == [Value.ACTIVE, Value.INACTIVE]
    assert request.released


def test_an_output_that_is_gone_is_an_error(requests: list[StandInRequest]) -> None:
    line = open_output(REAL)
    requests[0].error = OSError(errno.ENODEV, "No such device")
    with pytest.raises(LineError, match="cannot be driven: No such device"):
        line.set(True)
    line.close()
    assert requests[0].released


def test_lines_are_requested_again_with_the_same_settings(requests: list[StandInRequest]) -> None:
    for opener in (open_input, open_output):
        line = opener(REAL, "a test")
        first = requests[-1]
        line.close()
        line.reopen()
        second = requests[-1]
        assert first.released
        assert not second.released
        assert (second.path, second.line, second.consumer) == (first.path, first.line, "a test")
        assert second.settings is first.settings
        line.close()
        assert second.released


def test_an_input_that_is_open_again_is_read_through_its_new_descriptor(requests: list[StandInRequest]) -> None:
    line = open_input(REAL)
    line.close()
    assert line.fileno() == -1
    line.reopen()
    requests[-1].edge(Value.ACTIVE)
    assert readable(line)
    assert line.read() is True
    line.close()


def test_an_output_is_checked_without_being_driven(requests: list[StandInRequest]) -> None:
    line = open_output(REAL)
    line.check()
    requests[0].error = OSError(errno.ENODEV, "No such device")
    with pytest.raises(LineError, match=r"ESTOP of /dev/gpiochip0 is gone: No such device; the chip is gone"):
        line.check()
    requests[0].error = None
    assert requests[0].driven == []
    line.close()


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (OSError(errno.EBUSY, "Device or resource busy"), "another program or a kernel driver holds"),
        (OSError(errno.EACCES, "Permission denied"), "udev rule"),
        (ValueError("not a line"), "gpioinfo"),
    ],
)
def test_a_refused_request_says_what_to_do(monkeypatch: pytest.MonkeyPatch, error: Exception, advice: str) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(gpiod, "request_lines", refuse)
    for opener in (open_input, open_output):
        with pytest.raises(LineError, match=advice):
            opener(REAL)


def test_a_missing_chip_is_named_by_the_real_library() -> None:
    missing = GpioLine(type="gpio", chip="/dev/gpiochip_none", line=3)
    for opener in (open_input, open_output):
        with pytest.raises(LineError, match=r"line 3 of /dev/gpiochip_none cannot be had: .*; no such chip"):
            opener(missing)


def test_a_device_that_is_no_chip_is_refused_by_the_real_library() -> None:
    with pytest.raises(LineError, match="/dev/null cannot be had"):
        open_input(GpioLine(type="gpio", chip="/dev/null", line=3))
