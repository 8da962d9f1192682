"""The log: what a line looks like, and that a stuck reader of standard error stops nobody."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import structlog

from runtime import log
from runtime.events import Event, Events


class Pipe:
    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def lines(self) -> list[str]:
        """Everything that was written; the log must have stopped."""
        os.close(self.writing)
        self.writing = -1
        with os.fdopen(self.reading, "rb") as file:
            self.reading = -1
            return file.read().decode().splitlines()

    def close(self) -> None:
        for descriptor in (self.reading, self.writing):
            if descriptor >= 0:
                os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    log.stop()
    made.close()


def records(pipe: Pipe) -> list[dict[str, Any]]:
    log.stop()
    return [json.loads(line) for line in pipe.lines()]


def test_an_event_is_one_line_of_json(pipe: Pipe) -> None:
    log.start(pipe.writing)
    fields = {"joint": "elbow", "age_s": 0.5, "angle": np.float64(1.5), "lost": float("nan"), "level": "x"}
    log.log_event(
        Event("bus.joint_lost", "warning", "elbow does not answer\nany more", 1, 1_700_000_000_123_456_000, fields)
    )
    assert records(pipe) == [
        {
            "time": "2023-11-14T22:13:20.123456+00:00",
            "level": "warning",
            "event": "bus.joint_lost",
            "message": "elbow does not answer\nany more",
            "joint": "elbow",
            "age_s": 0.5,
            "angle": 1.5,
            "lost": "nan",
            "level_": "x",
        }
    ]


def test_events_structlog_logging_and_warnings_go_the_same_way(pipe: Pipe) -> None:
    log.start(pipe.writing)
    events = Events()
    events.listen(log.log_event)
    events.emit("daemon.ready", "ready")
    structlog.get_logger().warning("something.happened", count=3)
    structlog.get_logger().debug("nobody.wants.this")
    try:
        raise ValueError("no")
    except ValueError:
        structlog.get_logger().exception("something.failed")
        logging.getLogger("can.bus").exception("it failed with %d", 5)
    logging.getLogger("can.bus").debug("nobody wants this")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", stacklevel=1)
    told = records(pipe)
    assert [(record["level"], record["event"]) for record in told] == [
        ("info", "daemon.ready"),
        ("warning", "something.happened"),
        ("error", "something.failed"),
        ("error", "can.bus"),
        ("warning", "py.warnings"),
    ]
    assert told[1]["count"] == 3
    assert told[3]["message"] == "it failed with 5"
    assert "ValueError: no" in told[2]["exception"]
    assert "ValueError: no" in told[3]["exception"]
    assert "careful" in told[4]["message"]


def test_a_terminal_gets_text(pipe: Pipe) -> None:
    log.start(pipe.writing, as_json=False)
    log.log_event(Event("daemon.ready", "info", "the arm is ready", 1, 1_700_000_000_000_000_000, {"port": 3}))
    log.stop()
    (line,) = pipe.lines()
    assert "daemon.ready" in line
    assert "the arm is ready" in line
    assert not line.startswith("{")


def test_a_stuck_reader_stops_nobody_and_losses_are_told(pipe: Pipe) -> None:
    writer = log.start(pipe.writing)
    event = Event("test.happened", "info", "x" * 1000, 1, 1_700_000_000_000_000_000)
    emitted = 0
    deadline = time.monotonic() + 30
    while writer.dropped < 10:
        assert time.monotonic() < deadline
        log.log_event(event)
        emitted += 1
    # Nobody has read a byte so far. Now somebody does.
    lines: list[dict[str, Any]] = []

    def read() -> None:
        with os.fdopen(pipe.reading, "rb") as file:
            lines.extend(json.loads(line) for line in file)

    reader = threading.Thread(target=read)
    reader.start()
    log.stop()
    os.close(pipe.writing)
    reader.join()
    pipe.reading = pipe.writing = -1
    kept = [line for line in lines if line["event"] == "test.happened"]
    lost = [line for line in lines if line["event"] == "log.dropped"]
    assert sum(line["count"] for line in lost) == writer.dropped
    assert len(kept) + writer.dropped == emitted
    assert "too slow" in lost[0]["message"]


def test_stopping_does_not_wait_for_a_stuck_reader(pipe: Pipe) -> None:
    writer = log.start(pipe.writing)
    event = Event("test.happened", "info", "x" * 1000, 1, 1_700_000_000_000_000_000)
    for _ in range(300):
        log.log_event(event)
    log.stop()
    assert writer._thread.is_alive()
    # Let it go, so that no thread is left behind.
    os.set_blocking(pipe.reading, True)
    while writer._thread.is_alive():
        os.read(pipe.reading, 65536)
        writer._thread.join(0.01)


def test_a_reader_that_is_gone_costs_records_only(pipe: Pipe) -> None:
    writer = log.start(pipe.writing)
    os.close(pipe.reading)
    pipe.reading = -1
    log.log_event(Event("a", "info", "", 1, 1))
    log.stop()
    assert writer.dropped == 1


def test_a_descriptor_that_somebody_made_non_blocking(pipe: Pipe) -> None:
    os.set_blocking(pipe.writing, False)
    log.start(pipe.writing)
    for number in range(300):
        log.log_event(Event("n", "info", "x" * 1000, 1, 1, {"number": number}))
    numbers: list[int] = []

    def read() -> None:
        with os.fdopen(pipe.reading, "rb") as file:
            numbers.extend(json.loads(line)["number"] for line in file)

    reader = threading.Thread(target=read)
    reader.start()
    log.stop()
    os.close(pipe.writing)
    reader.join()
    pipe.reading = pipe.writing = -1
    assert numbers == list(range(300))


def test_a_record_that_cannot_be_rendered_is_told(pipe: Pipe) -> None:
    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no")

    log.start(pipe.writing)
    log.log_event(Event("a", "info", "", 1, 1, {"value": Rude()}))
    log.log_event(Event("b", "info", "", 1, 1))
    told = records(pipe)
    assert [record["event"] for record in told] == ["log.failed", "b"]


def test_without_a_log_events_go_nowhere() -> None:
    log.log_event(Event("a", "info", "", 1, 1))
    log.stop()


def test_two_logs_at_once_are_a_mistake(pipe: Pipe) -> None:
    log.start(pipe.writing)
    with pytest.raises(RuntimeError, match="stop it first"):
        log.start(pipe.writing)


def test_stop_leaves_nothing_behind(pipe: Pipe) -> None:
    before = logging.getLogger().handlers[:]
    log.start(pipe.writing)
    log.stop()
    assert logging.getLogger().handlers == before
    assert not structlog.is_configured()
