"""The journal's protocol, against a datagram socket that reads it as systemd-journald does."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import socket
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from runtime import journal, log
from runtime.events import Event
from runtime.journal import is_journal, message_id


class Journald:
    """The other end of the socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(20)
        self.files = 0
        """Records that came as a file."""

    def record(self) -> dict[str, str]:
        """The next record, read by the text of the protocol."""
        data, ancillary, _, _ = self.socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
        if ancillary:
            (file,) = struct.unpack("i", ancillary[0][2])
            # journald refuses a file that can still be changed.
            assert fcntl.fcntl(file, fcntl.F_GET_SEALS) == 0b1111
            data = os.pread(file, os.fstat(file).st_size, 0)
            os.close(file)
            self.files += 1
        return _parse(data)


def _parse(data: bytes) -> dict[str, str]:
    fields: dict[str, str] = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (length,) = struct.unpack_from("<Q", data)
            value, data = data[8 : 8 + length], data[8 + length :]
            assert data[:1] == b"\n"
            data = data[1:]
        assert name.decode() not in fields
        fields[name.decode()] = value.decode()
    return fields


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """A stream of the journal, as systemd makes one for standard error: both ends of it."""
    reading, writing = os.pipe()
    found = os.fstat(writing)
    monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
    os.set_blocking(reading, False)
    yield reading, writing
    log.stop()
    os.close(reading)
    os.close(writing)


@pytest.fixture
def journald(stream: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Journald]:
    """A journal that listens, and a log that writes to it."""
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "socket")
    made = Journald(tmp_path / "socket")
    log.start(stream[1])
    yield made
    log.stop()
    made.socket.close()


def test_an_event_is_a_record_with_its_fields(journald: Journald) -> None:
    fields = {"joint": "elbow", "age_s": 0.5, "angle": np.float64(1.5), "lost": float("nan"), "level": "x", "é": 1}
    log.log_event(Event("joint.lost", "warning", "two\nlines = \udc80", 1, 1_700_000_000_123_456_000, fields))
    assert journald.record() == {
        "MESSAGE": "two\nlines = \\udc80",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "reflexd",
        "MESSAGE_ID": message_id("joint.lost"),
        "REFLEXD_EVENT": "joint.lost",
        "REFLEXD_TIME": "2023-11-14T22:13:20.123456+00:00",
        "REFLEXD_JOINT": "elbow",
        "REFLEXD_AGE_S": "0.5",
        "REFLEXD_ANGLE": "1.5",
        "REFLEXD_LOST": "nan",
        "REFLEXD_LEVEL_": "x",
        "REFLEXD__": "1",
    }


def test_what_other_libraries_log(journald: Journald) -> None:
    structlog.get_logger().error("something.failed", count=3)
    try:
        raise ValueError("no")
    except ValueError:
        logging.getLogger("can.bus").exception("it failed")
    first, second = journald.record(), journald.record()
    assert (first["MESSAGE"], first["PRIORITY"], first["REFLEXD_COUNT"]) == ("something.failed", "3", "3")
    assert second["REFLEXD_EVENT"] == "can.bus"
    assert second["MESSAGE"].startswith("it failed\nTraceback")
    assert second["MESSAGE"].endswith("ValueError: no")


def test_a_record_that_is_too_large_for_a_datagram(journald: Journald) -> None:
    text = "x" * 1_000_000
    log.log_event(Event("policy.crashed", "error", text, 1, 1))
    log.log_event(Event("policy.ready", "info", "", 1, 1))
    assert journald.record()["MESSAGE"] == text
    assert journald.record()["MESSAGE"] == ""
    assert journald.files == 1


def test_the_message_id_is_the_documented_one() -> None:
    namespace = uuid.uuid5(uuid.NAMESPACE_DNS, "reflexd")
    assert message_id("estop.pressed") == uuid.uuid5(namespace, "estop.pressed").hex
    page = (Path(__file__).parents[2] / "docs/install.md").read_text()
    assert str(namespace) in page


def test_while_the_journal_is_away_lines_go_to_its_stream(
    stream: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "SOCKET", tmp_path / "socket")
    reading, writing = stream
    log.start(writing)
    log.log_event(Event("a", "info", "", 1, 1))
    lines = _lines(reading, 1)
    journald = Journald(tmp_path / "socket")
    log.log_event(Event("b", "info", "", 1, 1))
    assert journald.record()["REFLEXD_EVENT"] == "b"
    journald.socket.close()
    log.log_event(Event("c", "info", "", 1, 1))
    assert [line["event"] for line in lines + _lines(reading, 1)] == ["a", "c"]


def test_a_stuck_journal_stops_nobody(journald: Journald) -> None:
    assert log._writer is not None
    writer, emitted = log._writer, 0
    deadline = time.monotonic() + 30
    while writer.dropped < 10:
        assert time.monotonic() < deadline
        log.log_event(Event("n", "info", "x" * 1000, 1, 1, {"number": emitted}))
        emitted += 1
    # Nobody has read so far. Now somebody does, and hears what was lost.
    told: list[dict[str, str]] = []

    def read() -> None:
        ended = False
        while not ended:
            ended = not writer._thread.is_alive()  # what it has sent by now can be read below
            with suppress(TimeoutError):
                while True:
                    told.append(journald.record())

    journald.socket.settimeout(0.05)
    reader = threading.Thread(target=read)
    reader.start()
    while writer._thread.is_alive():
        log.stop()
        writer._thread.join(0.01)
    reader.join()
    numbers = [int(record["REFLEXD_NUMBER"]) for record in told if record["REFLEXD_EVENT"] == "n"]
    lost = [int(record["REFLEXD_COUNT"]) for record in told if record["REFLEXD_EVENT"] == "log.dropped"]
    assert numbers == sorted(numbers)
    assert sum(lost) == writer.dropped
    assert len(numbers) + writer.dropped == emitted


def test_only_the_stream_of_the_journal_is_taken_for_it(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        found = os.fstat(file.fileno())
        assert is_journal(file.fileno(), {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
        # The variable is inherited: a program that redirects standard error must keep it redirected.
        assert not is_journal(file.fileno(), {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino + 1}"})
        assert not is_journal(file.fileno(), {"JOURNAL_STREAM": "nonsense"})
        assert not is_journal(file.fileno(), {})
    assert not is_journal(9999, {"JOURNAL_STREAM": "1:2"})


def _lines(reading: int, count: int) -> list[dict[str, Any]]:
    data, deadline = b"", time.monotonic() + 20
    while data.count(b"\n") < count:
        assert time.monotonic() < deadline
        try:
            data += os.read(reading, 65536)
        except BlockingIOError:
            time.sleep(0.005)
    return [json.loads(line) for line in data.splitlines()]
