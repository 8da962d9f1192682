"""What the server tells without being asked again: the status, many times a second, and events as they happen."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from runtime.events import Event, Events
from runtime.link import protocol

EVENT_BYTES = 4 * 1024
"""An event that takes more on the wire goes without its fields."""

PAGE_EVENTS = 32
PAGE_BYTES = 16 * 1024
"""One answer to `events` holds no more: packing it takes the loop about 0.1 ms."""


_LOST = "{} events came too fast to be kept for clients; the log has them"


class Snapshot:
    """The packed status, shared by everybody who asks for it within `max_age` seconds."""

    def __init__(self, status: Callable[[], dict[str, Any]], max_age: float) -> None:
        self._status = status
        self._max_age = max_age
        self._body = b""
        self._made_at = float("-inf")

    def body(self, now: float) -> bytes:
        """The packed status. Raises whatever making it raises."""
        if now - self._made_at >= self._max_age:
            self._body = protocol.pack(self._status())
            self._made_at = now
        return self._body

    def forget(self) -> None:
        """Something was done: whoever asks next sees its effect."""
        self._made_at = float("-inf")


class EventLog:
    """The last events, numbered from 1 in the order in which the server learned of them.

    Events come from any thread; all else is for the loop's thread alone.
    """

    def __init__(self, events: Events, keep: int = 1000) -> None:
        self.newest = 0
        """Number of the newest event that is known; 0 before the first."""
        self._keep = keep
        self._incoming: deque[Event] = deque(list(events.recent)[-keep:])
        self._overflow = 0
        self._kept: deque[Event | bytes] = deque(maxlen=keep)
        events.listen(self._listen)

    def _listen(self, event: Event) -> None:
        # Appending to a deque is atomic; a flood between two calls of `collect` costs events, not memory.
        if len(self._incoming) < self._keep:
            self._incoming.append(event)
        else:
            self._overflow += 1

    def collect(self) -> None:
        """Number what has come in; cheap when there is nothing."""
        while self._incoming:
            self._kept.append(self._incoming.popleft())
            self.newest += 1
        if self._overflow:
            lost, self._overflow = self._overflow, 0
            now = time.monotonic_ns(), time.time_ns()
            self._kept.append(Event("link.events_lost", "warning", _LOST.format(lost), *now, {"count": lost}))
            self.newest += 1

    def after(self, since: int) -> tuple[int, bytes] | None:
        """Number and packed map of the first kept event after number `since`; None when there is none yet."""
        number = max(since + 1, self.newest - len(self._kept) + 1)
        if number > self.newest:
            return None
        index = number - (self.newest - len(self._kept) + 1)
        entry = self._kept[index]
        if isinstance(entry, Event):
            entry = self._kept[index] = _packed(number, entry)
        return number, entry

    def page(self, since: int) -> tuple[bytes, int]:
        """The packed result of `events`, and the number of the last event in it."""
        bodies: list[bytes] = []
        size, cursor = 0, min(since, self.newest)
        while len(bodies) < PAGE_EVENTS and size < PAGE_BYTES and (found := self.after(cursor)):
            cursor, body = found
            bodies.append(body)
            size += len(body)
        more = cursor < self.newest
        head = b"\xdc" + len(bodies).to_bytes(2, "big") + b"".join(bodies)
        packed = b"\x83\xa6events" + head + b"\xa4next" + protocol.pack(cursor)
        return packed + b"\xa4more" + (b"\xc3" if more else b"\xc2"), cursor


def _packed(number: int, event: Event) -> bytes:
    told: dict[str, Any] = {
        "sequence": number,
        "name": event.name,
        "level": event.level,
        "message": event.message,
        "mono_ns": event.mono_ns,
        "wall_ns": event.wall_ns,
        "fields": event.fields,
    }
    try:
        body = protocol.pack(told, default=_anything)
    except (TypeError, ValueError, OverflowError):
        body = b""
    if not body or len(body) > EVENT_BYTES:
        told["message"] = event.message[:1000].encode(errors="replace").decode()
        told["fields"] = {"left_out": "the fields of this event cannot be told here; the log has them"}
        body = protocol.pack(told)
    return body


def _anything(value: Any) -> Any:
    try:
        return protocol.plain(value)
    except TypeError:
        return str(value)


class StatusStream:
    """A client's `watch`."""

    skips = True
    """A slow client misses some of it."""

    def __init__(self, request_id: int, interval: float, snapshot: Snapshot) -> None:
        self._id = request_id
        self._snapshot = snapshot
        self.interval = interval

    def waiting(self) -> bool:
        """Whether there is something to tell now."""
        return True

    def next_frame(self, now: float) -> bytes:
        """The frame to send now."""
        return protocol.push(self._id, "status", self._snapshot.body(now))


class EventStream:
    """A client's `events` with `follow`."""

    skips = False
    """A slow client gets it later; what is no longer kept then shows as a gap in the numbers."""

    interval = 0.05
    """Looked for at this period, s: the threads that emit events never wake the loop."""

    def __init__(self, request_id: int, since: int, log: EventLog) -> None:
        self._id = request_id
        self._since = since
        self._log = log

    def waiting(self) -> bool:
        """Whether there is something to tell now."""
        self._log.collect()
        return self._log.newest > self._since

    def next_frame(self, now: float) -> bytes | None:
        """The frame to send now; None when there is none."""
        found = self._log.after(self._since)
        if found is None:
            self._since = self._log.newest
            return None
        self._since, body = found
        return protocol.push(self._id, "event", body)


Stream = StatusStream | EventStream
