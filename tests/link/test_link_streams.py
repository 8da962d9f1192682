"""The numbered log of events and the shared status, without a socket."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from runtime.events import Events
from runtime.link.streams import EVENT_BYTES, EventLog, EventStream, Snapshot


def page(log: EventLog, since: int) -> tuple[list[dict[str, Any]], int, bool]:
    result = msgpack.unpackb(log.page(since)[0])
    return result["events"], result["next"], result["more"]


def test_events_from_before_the_log_are_in_it() -> None:
    events = Events()
    events.emit("a", "first")
    log = EventLog(events)
    events.emit("b", "second")
    log.collect()
    told, cursor, more = page(log, 0)
    assert [(event["sequence"], event["name"]) for event in told] == [(1, "a"), (2, "b")]
    assert (cursor, more) == (2, False)


def test_old_events_go_and_numbers_stay() -> None:
    events = Events()
    log = EventLog(events, keep=10)
    for number in range(25):
        events.emit("n", "", number=number)
        log.collect()
    told, cursor, _ = page(log, 3)
    assert [event["sequence"] for event in told] == list(range(16, 26))
    assert [event["fields"]["number"] for event in told] == list(range(15, 25))
    assert cursor == 25


def test_a_flood_between_two_looks_is_counted_and_told() -> None:
    events = Events(keep=5)
    log = EventLog(events, keep=10)
    for number in range(17):
        events.emit("n", "", number=number)
    log.collect()
    told, cursor, _ = page(log, 0)
    assert told[-1]["name"] == "link.events_lost"
    assert told[-1]["fields"] == {"count": 7}
    assert [event["fields"]["number"] for event in told[:-1]] == list(range(1, 10))
    assert cursor == 11


@pytest.mark.parametrize("fields", [{"x": "y" * EVENT_BYTES}, {"x": "\udc80"}])
def test_fields_that_cannot_be_told_are_left_out(fields: dict[str, Any]) -> None:
    events = Events()
    log = EventLog(events)
    events.emit("big", "it is big", **fields)
    log.collect()
    (event,), *_ = page(log, 0)
    assert event["message"] == "it is big"
    assert list(event["fields"]) == ["left_out"]


def test_odd_values_in_fields_become_text() -> None:
    events = Events()
    log = EventLog(events)
    events.emit("odd", "", error=ValueError("no"), big=1 << 70)
    log.collect()
    (event,), *_ = page(log, 0)
    assert event["fields"] == {"error": "no", "big": str(1 << 70)}


def test_a_page_is_bounded_in_bytes() -> None:
    events = Events()
    log = EventLog(events)
    for _ in range(20):
        events.emit("big", "x" * 3000)
    log.collect()
    body, cursor = log.page(0)
    assert len(body) < 20 * 1024
    assert 0 < cursor < 20


def test_a_follower_that_was_away_too_long_goes_on_with_what_is_left() -> None:
    events = Events()
    log = EventLog(events, keep=5)
    stream = EventStream(7, 0, log)
    assert not stream.waiting()
    for number in range(8):
        events.emit("n", "", number=number)
        log.collect()
    seen = []
    while stream.waiting():
        frame = stream.next_frame(0.0)
        assert frame is not None
        seen.append(msgpack.unpackb(frame[4:]))
    assert [push["result"]["sequence"] for push in seen] == [4, 5, 6, 7, 8]
    assert {(push["id"], push["event"]) for push in seen} == {(7, "event")}


def test_a_snapshot_is_made_once_per_age_or_when_told() -> None:
    calls: list[int] = []

    def status() -> dict[str, Any]:
        calls.append(1)
        return {"call": len(calls)}

    snapshot = Snapshot(status, max_age=0.01)
    assert snapshot.body(5.0) == snapshot.body(5.009)
    assert len(calls) == 1
    snapshot.body(5.011)
    assert len(calls) == 2
    snapshot.forget()
    assert msgpack.unpackb(snapshot.body(5.012)) == {"call": 3}
