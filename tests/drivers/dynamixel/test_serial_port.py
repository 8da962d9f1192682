"""Serial ports on a pseudo terminal."""

from __future__ import annotations

import os
import select
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.errors import PortError
from drivers.ports import serial
from drivers.ports.serial import SerialPort


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    master, slave = os.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


def wait_for(descriptor: int) -> None:
    assert select.select([descriptor], [], [], 10.0)[0]


def test_bytes_go_both_ways_and_nothing_waits(terminal: tuple[int, str]) -> None:
    master, path = terminal
    port = SerialPort(path, 1_000_000)
    assert port.read() == b""
    every = bytes(range(256))
    assert port.write(every)
    wait_for(master)
    assert os.read(master, 4096) == every
    os.write(master, every)
    wait_for(port.fileno())
    assert port.read() == every
    assert port.error is None
    port.close()
    port.close()
    assert port.fileno() == -1
    assert not port.write(b"x")
    assert port.read() == b""


def test_a_full_buffer_takes_nothing_and_is_no_error(terminal: tuple[int, str]) -> None:
    port = SerialPort(terminal[1], 1_000_000)
    taken = 0
    while port.write(bytes(1000)):
        taken += 1
        assert taken < 10_000
    assert port.error is None
    port.close()


def test_a_port_is_exclusive(terminal: tuple[int, str]) -> None:
    port = SerialPort(terminal[1], 1_000_000)
    with pytest.raises(PortError, match="another program uses it"):
        SerialPort(terminal[1], 1_000_000)
    port.close()
    SerialPort(terminal[1], 1_000_000).close()


def test_a_port_that_does_not_exist() -> None:
    with pytest.raises(PortError, match="at 57600 baud cannot be opened: it does not exist"):
        SerialPort("/dev/does-not-exist", 57600)


def test_what_is_no_serial_port(tmp_path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(PortError, match="cannot be opened"):
        SerialPort(str(file), 57600)


def test_a_port_that_is_gone_says_so_in_its_error() -> None:
    master, slave = os.openpty()
    port = SerialPort(os.ttyname(slave), 1_000_000)
    os.close(master)
    os.close(slave)
    assert port.read() == b""
    assert not port.write(b"x")
    assert port.error is not None
    port.close()


def test_an_adapter_that_is_back_takes_the_old_descriptor(tmp_path: Path) -> None:
    path, terminals = tmp_path / "adapter", []

    def plug() -> int:
        terminals.append(os.openpty())
        master, slave = terminals[-1]
        tty.setraw(slave)
        path.symlink_to(os.ttyname(slave))
        return master

    plug()
    port = SerialPort(str(path), 57600)
    number = port.fileno()
    path.unlink()
    for end in terminals[0]:
        os.close(end)
    assert not port.write(b"x")
    with pytest.raises(PortError, match="is the adapter plugged in"):
        port.reopen()
    assert port.error is not None

    terminals.append(os.openpty())  # takes the number of the first, which another device then has
    master = plug()
    port.reopen()
    assert port.error is None
    assert port.fileno() == number
    assert port.write(b"new")
    wait_for(master)
    assert os.read(master, 10) == b"new"
    with pytest.raises(PortError, match="another program uses it"):
        SerialPort(str(path), 57600)
    port.close()
    SerialPort(str(path), 57600).close()
    for end in (*terminals[1], *terminals[2]):
        os.close(end)


def test_a_terminal_has_no_latency(terminal: tuple[int, str]) -> None:
    port = SerialPort(terminal[1], 1_000_000)
    assert not port.low_latency
    assert port.latency_ms is None
    assert port.problem is None
    port.close()


def test_the_latency_timer_is_set_to_a_millisecond(terminal, monkeypatch, tmp_path) -> None:
    path = terminal[1]
    timer = tmp_path / path.rsplit("/", 1)[1] / "latency_timer"
    timer.parent.mkdir()
    timer.write_text("16\n")
    monkeypatch.setattr(serial, "SYSFS", tmp_path)
    link = tmp_path / "by-id"
    link.symlink_to(path)
    port = SerialPort(str(link), 1_000_000)
    assert timer.read_text() == "1"
    assert port.latency_ms == 1
    assert port.problem is None
    port.close()
