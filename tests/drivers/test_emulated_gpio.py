"""Lines of the emulated chip, through its real socket."""

from __future__ import annotations

import json
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.emulated.gpio import GpioChip
from drivers.emulated.reactor import Reactor
from drivers.errors import LineError
from drivers.gpio.lines import open_input, open_output
from drivers.gpio.options import EmulatedLine


class RunningChip:
    """An emulated chip on a thread of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.changes: list[bool] = []
        self.changed = threading.Condition()
        self._reactor = Reactor()
        self._chip = GpioChip(
            self._reactor, path, {"estop": True}, {"drive_enable": self._drive, "brake": lambda _: None}
        )
        self._calls: list[Callable[[], None]] = []
        self._wake, self._woken = socket.socketpair()
        self._reactor.watch(self._woken, self._call)
        self._stopping = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def press(self, pressed: bool) -> None:
        self.do(lambda: self._chip.set_input("estop", not pressed))

    def do(self, call: Callable[[], None]) -> None:
        done = threading.Event()
        self._calls.append(lambda: (call(), done.set())[0])
        self._wake.send(b"x")
        assert done.wait(5)

    def wait_for(self, changes: list[bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.changes == changes, 5), self.changes

    def close(self) -> None:
        if self._thread.is_alive():
            self.do(self._stop)
            self._thread.join(5)
            self._chip.close()
            self._reactor.close()
            self._wake.close()
            self._woken.close()

    def _stop(self) -> None:
        self._stopping = True

    def _drive(self, level: bool) -> None:
        with self.changed:
            self.changes.append(level)
            self.changed.notify()

    def _call(self) -> None:
        self._woken.recv(1)
        self._calls.pop(0)()

    def _run(self) -> None:
        while not self._stopping:
            self._reactor.wait(5)
            self._reactor.run_ready()


@pytest.fixture
def chip(tmp_path: Path) -> Iterator[RunningChip]:
    chip = RunningChip(tmp_path / "gpio.sock")
    yield chip
    chip.close()
    assert not chip.path.exists()


def emulated(chip: RunningChip, line: str) -> EmulatedLine:
    return EmulatedLine(type="emulated", path=chip.path, line=line)


def wait_readable(line: Any) -> None:
    assert select.select([line.fileno()], [], [], 5)[0]


def test_emulated_input_follows_the_button(chip: RunningChip) -> None:
    line = open_input(emulated(chip, "estop"))
    assert line.read() is True
    chip.press(True)
    wait_readable(line)
    assert line.read() is False
    assert not select.select([line.fileno()], [], [], 0)[0]
    chip.press(False)
    wait_readable(line)
    assert line.read() is True
    line.close()


def test_emulated_input_that_is_opened_while_pressed_reads_pressed(chip: RunningChip) -> None:
    chip.press(True)
    line = open_input(emulated(chip, "estop"))
    assert line.read() is False
    line.close()


def test_several_readers_see_the_button(chip: RunningChip) -> None:
    lines = [open_input(emulated(chip, "estop")) for _ in range(3)]
    chip.press(True)
    for line in lines:
        wait_readable(line)
        assert line.read() is False
        line.close()


def test_emulated_input_is_gone_with_its_chip(chip: RunningChip) -> None:
    line = open_input(emulated(chip, "estop"))
    chip.close()
    wait_readable(line)
    with pytest.raises(LineError, match=r"estop at .* is gone"):
        line.read()
    line.close()


def test_emulated_output_drives_and_falls_when_closed(chip: RunningChip) -> None:
    line = open_output(emulated(chip, "drive_enable"))
    line.set(True)
    chip.wait_for([True])
    line.set(True)
    line.set(False)
    chip.wait_for([True, False])
    line.set(True)
    line.close()
    chip.wait_for([True, False, True, False])


def test_an_output_has_one_holder_and_is_free_again_afterwards(chip: RunningChip) -> None:
    first = open_output(emulated(chip, "drive_enable"))
    with pytest.raises(LineError, match="held by another"):
        open_output(emulated(chip, "drive_enable"))
    first.set(True)
    chip.wait_for([True])
    first.close()
    chip.wait_for([True, False])
    open_output(emulated(chip, "drive_enable")).close()


def test_emulated_output_is_gone_with_its_chip(chip: RunningChip) -> None:
    line = open_output(emulated(chip, "drive_enable"))
    chip.close()
    with pytest.raises(LineError, match=r"drive_enable at .* is gone"):
        line.set(True)
    line.close()


def test_emulated_output_is_checked_without_being_driven(chip: RunningChip) -> None:
    line = open_output(emulated(chip, "drive_enable"))
    line.set(True)
    line.check()
    chip.wait_for([True])
    chip.close()
    with pytest.raises(LineError, match=r"drive_enable at .* is gone: the chip closed the connection"):
        line.check()
    line.close()


def test_emulated_lines_come_back_with_their_chip(chip: RunningChip) -> None:
    estop, drive = open_input(emulated(chip, "estop")), open_output(emulated(chip, "drive_enable"))
    chip.close()
    for line in (estop, drive):
        line.close()
        with pytest.raises(LineError, match="is the emulated robot running"):
            line.reopen()
    again = RunningChip(chip.path)
    try:
        estop.reopen()
        drive.reopen()
        again.press(True)
        wait_readable(estop)
        assert estop.read() is False
        drive.set(True)
        again.wait_for([True])
    finally:
        estop.close()
        drive.close()
        again.close()


def test_a_chip_that_says_nothing_is_waited_for_only_briefly_when_reopening(
    chip: RunningChip, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = open_input(emulated(chip, "estop"))
    line.close()
    chip.close()
    waits: list[float] = []
    settimeout = socket.socket.settimeout

    def note(self: socket.socket, seconds: float) -> None:
        waits.append(seconds)
        settimeout(self, seconds)

    monkeypatch.setattr(socket.socket, "settimeout", note)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.bind(os.fspath(chip.path))
        silent.listen()
        with pytest.raises(LineError, match="timed out"):
            line.reopen()
    chip.path.unlink()
    assert waits == [0.05]


def test_unknown_lines_and_wrong_directions_are_refused_by_name(chip: RunningChip) -> None:
    with pytest.raises(LineError, match=r"refused: no line 'estopp'.*inputs: estop; outputs: drive_enable"):
        open_input(emulated(chip, "estopp"))
    with pytest.raises(LineError, match="no line 'estop' in direction 'out'"):
        open_output(emulated(chip, "estop"))


@pytest.mark.parametrize("message", [b"hello", b"[]", b'{"line": ["estop"], "direction": "in"}', b"\xff"])
def test_nonsense_is_refused_and_harms_nobody(chip: RunningChip, message: bytes) -> None:
    line = open_input(emulated(chip, "estop"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(5)
        client.connect(os.fspath(chip.path))
        client.send(message)
        assert "error" in json.loads(client.recv(1024))
        assert client.recv(1024) == b""
    assert line.read() is True
    line.close()


def test_a_bad_level_releases_the_output(chip: RunningChip) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(5)
        client.connect(os.fspath(chip.path))
        client.send(b'{"line": "drive_enable", "direction": "out"}')
        assert client.recv(16) == b"\x00"
        client.send(b"\x01")
        chip.wait_for([True])
        client.send(b"\x02")
        chip.wait_for([True, False])


def test_no_chip_says_so(tmp_path: Path) -> None:
    with pytest.raises(LineError, match="is the emulated robot running"):
        open_input(EmulatedLine(type="emulated", path=tmp_path / "none.sock", line="estop"))


def test_a_chip_that_says_nothing_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.gpio.emulated.ANSWER_SECONDS", 0.01)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.bind(os.fspath(tmp_path / "gpio.sock"))
        silent.listen()
        with pytest.raises(LineError, match="timed out"):
            open_output(EmulatedLine(type="emulated", path=tmp_path / "gpio.sock", line="drive_enable"))
