"""The log: structured records in the journal under systemd, readable text on a terminal, else lines of JSON.

Nothing that logs ever waits: records go into a bounded queue that a thread writes out. When the reader at the
other end is stuck, records are lost and counted; the robot is not.
"""

from __future__ import annotations

import logging
import math
import os
import queue
import select
import sys
import threading
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog

from runtime import journal
from runtime.events import Event
from runtime.journal import Journal

LIMIT = 4096
"""Records that wait for the writer at most."""

_BATCH = 64
_STOP_S = 1.0
_RESERVED = ("time", "level", "event", "message")

Record = MutableMapping[str, Any]
Render = Callable[[Record], str]


class Sink(Protocol):
    """Where records go."""

    def write(self, records: Sequence[Record]) -> int:
        """Write them, waiting as long as it takes. Returns how many were lost."""

    def close(self) -> None:
        """Nothing more will come."""


class Writer:
    """Hands records to a sink, on a thread of its own."""

    def __init__(self, sink: Sink) -> None:
        self.dropped = 0
        """Records lost because the queue was full or the sink did not take them."""
        self._sink = sink
        self._queue: queue.SimpleQueue[Event | Record | None] = queue.SimpleQueue()
        self._told = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def put(self, record: Event | Record) -> None:
        """Take a record, or drop it when too many wait. Callable from any thread; never waits, never raises."""
        if self._queue.qsize() < LIMIT:
            self._queue.put(record)
        else:
            self.dropped += 1

    def stop(self) -> None:
        """Write what waits and end the thread; a stuck reader is given up on after a second."""
        self._queue.put(None)
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        ended = False
        while not ended:
            batch = [self._queue.get()]
            while len(batch) < _BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            ended = None in batch
            records = [_record(entry) for entry in batch if entry is not None]
            if self.dropped > self._told:
                lost, self._told = self.dropped - self._told, self.dropped
                text = f"{lost} records were lost: the reader of the log is too slow"
                records.append(
                    _head(datetime.now(UTC), "warning", "log.dropped") | {"message": text, "count": lost}
                )
            if lost := self._sink.write(records):
                self.dropped += lost
                self._told = self.dropped
        self._sink.close()


class _Stream:
    """Lines on a file descriptor."""

    def __init__(self, descriptor: int, render: Render) -> None:
        self._descriptor = descriptor
        self._render = render

    def write(self, records: Sequence[Record]) -> int:
        """Write one line each; none arrives when the descriptor is gone."""
        lines = "".join(self._line(record) + "\n" for record in records)
        return 0 if self._write(lines.encode(errors="backslashreplace")) else len(records)

    def close(self) -> None:
        """Leave the descriptor as it is: it belongs to whoever opened it."""

    def _line(self, record: Record) -> str:
        try:
            return self._render(record)
        except Exception as error:
            return (
                f'{{"level": "error", "event": "log.failed", "message": "cannot render: {type(error).__name__}"}}'
            )

    def _write(self, data: bytes) -> bool:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                # Somebody else made the descriptor non-blocking: it is shared with whoever started the daemon.
                select.select([], [self._descriptor], [])
            except OSError:
                return False
        return True


class _ToJournal:
    """Structured records for the journal; lines on its stream while it does not take them."""

    def __init__(self, stream: _Stream) -> None:
        self._journal = Journal(journal.SOCKET)
        self._stream = stream

    def write(self, records: Sequence[Record]) -> int:
        """Send each one."""
        lost = 0
        for record in records:
            try:
                self._journal.send(journal.pack(record))
            except Exception:  # no journal there, or a value that cannot be told
                lost += self._stream.write([record])
        return lost

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()


_writer: Writer | None = None


def start(descriptor: int | None = None, as_json: bool | None = None, level: int = logging.INFO) -> Writer:
    """Send everything to the log from now on: events, structlog, `logging` and Python's warnings.

    `descriptor` is standard error when left out; when it leads to the journal, records go there with their fields.
    `as_json` is true unless it is a terminal.
    """
    global _writer
    if _writer is not None:
        raise RuntimeError("found a log that runs already, expected one; stop it first")
    target = sys.stderr.fileno() if descriptor is None else descriptor
    for_programs = not os.isatty(target) if as_json is None else as_json
    stream = _Stream(target, _json if for_programs else _console())
    _writer = writer = Writer(_ToJournal(stream) if journal.is_journal(target) else stream)
    writer.start()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _hand_over,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Logger(writer),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.addHandler(_Handler(writer))
    root.setLevel(level)
    logging.captureWarnings(True)
    return writer


def stop() -> None:
    """Write what waits, and let go of structlog and `logging`."""
    global _writer
    if _writer is None:
        return
    writer, _writer = _writer, None
    logging.captureWarnings(False)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        if isinstance(handler, _Handler):
            root.removeHandler(handler)
            handler.close()
    root.setLevel(logging.WARNING)
    structlog.reset_defaults()
    writer.stop()


def log_event(event: Event) -> None:
    """A listener for `runtime.events.Events`: cheap, callable from any thread; without a log it does nothing."""
    if _writer is not None:
        _writer.put(event)


class _Logger:
    """What structlog takes for a logger."""

    def __init__(self, writer: Writer) -> None:
        self._put = writer.put

    def msg(self, record: Record) -> None:
        self._put(record)

    debug = info = warning = error = critical = fatal = log = msg


class _Handler(logging.Handler):
    """Brings the records of `logging` here."""

    def __init__(self, writer: Writer) -> None:
        super().__init__()
        self._writer = writer
        self._formatter = logging.Formatter()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over."""
        time = datetime.fromtimestamp(record.created, UTC)
        told: Record = _head(time, record.levelname.lower(), record.name)
        try:
            told["message"] = record.getMessage()
        except (TypeError, ValueError):
            told["message"] = str(record.msg)
        if record.exc_info:
            told["exception"] = self._formatter.formatException(record.exc_info)
        self._writer.put(told)


def _hand_over(_: Any, __: str, record: Record) -> tuple[tuple[Record], dict[str, Any]]:
    head = _head(datetime.now(UTC), str(record.pop("level", "info")), str(record.pop("event", "")))
    return (head | dict(record),), {}


def _head(time: datetime, level: str, event: str) -> dict[str, Any]:
    return {"time": time.isoformat(timespec="microseconds"), "level": level, "event": event}


def _record(entry: Event | Record) -> Record:
    if not isinstance(entry, Event):
        return entry
    time = datetime.fromtimestamp(entry.wall_ns / 1e9, UTC)
    return _head(time, entry.level, entry.name) | {"message": entry.message} | _renamed(entry.fields)


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{key}_" if key in _RESERVED else key: value for key, value in fields.items()}


_dump = structlog.processors.JSONRenderer(
    default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value)
)


def _json(record: Record) -> str:
    for key, value in record.items():
        # JSON has no word for these.
        if isinstance(value, float) and not math.isfinite(value):
            record[key] = str(value)
    return str(_dump(None, "", record))


def _console() -> Render:
    renderer = structlog.dev.ConsoleRenderer(colors=True, timestamp_key="time", pad_event_to=24)

    def render(record: Record) -> str:
        return str(renderer(None, "", record))

    return render
