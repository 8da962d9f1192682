"""The control socket of the daemon: many clients, none of whom can take the control loop's time.

Everything runs on the loop's thread. Whatever the clients do, one pass of the loop does at most one piece of
their work (one request or one pushed frame), in turn, and all of them together get a bounded number of requests
per second.
"""

from __future__ import annotations

import asyncio
import socket
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.events import Events, Level
from runtime.link import protocol
from runtime.link.budget import TokenBucket
from runtime.link.connection import Connection
from runtime.link.errors import Refused
from runtime.link.listener import Listener, group_id, listen
from runtime.link.peers import Access, Peer, Role, credentials, own_access
from runtime.link.protocol import Request
from runtime.link.streams import EventLog, EventStream, Snapshot, StatusStream


@dataclass(frozen=True, slots=True)
class Handler:
    """One operation: what does it, and who may ask for it.

    `call` takes the request's arguments and returns the result, or an awaitable of it; Refused refuses.
    """

    call: Callable[..., Awaitable[Any] | Any]
    role: Role
    tell_peer: bool = False
    """Whether `call` also takes who asks, as a Peer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the loop clients may have."""

    connections: int = 16
    reserved: int = 4
    """Connections that only operators get: a crowd of onlookers never locks them out."""
    connects_per_s: float = 50.0
    requests_per_s: float = 200.0
    """Of one connection."""
    burst: float = 50.0
    """Requests that a connection may send at once after a rest."""
    all_requests_per_s: float = 500.0
    """Of all connections together."""
    in_flight: int = 8
    """Requests of a connection that may be worked on at the same time."""
    frame_timeout_s: float = 5.0
    stuck_timeout_s: float = 5.0
    write_buffer: int = 2 * protocol.MAX_FRAME
    """A client with more unread answers gets no further request done until it reads."""
    send_buffer: int = 64 * 1024
    """Of the kernel, per connection: a larger one would hold seconds of old status frames."""
    watch_interval_s: float = 0.02
    snapshot_age_s: float = 0.01


@dataclass(slots=True)
class LinkCounters:
    """What clients did since the start."""

    accepted: int = 0
    refused: int = 0
    """Connections beyond the limit."""
    requests: int = 0
    malformed: int = 0
    oversize: int = 0
    half_sent: int = 0
    throttled: int = 0
    """Times that a connection was paused for asking too much."""
    skipped: int = 0
    """Status frames that a slow client did not get."""
    stuck: int = 0
    """Connections cut off because they did not read."""


class ControlServer:
    """The control socket; the daemon gives it the operations.

    `status`, `watch`, `events` and `version` are its own; every other one comes from `handlers`.
    """

    def __init__(
        self,
        path: Path,
        *,
        version: str,
        status: Callable[[], dict[str, Any]],
        events: Events,
        handlers: Mapping[str, Handler],
        group: str | None = None,
        everyone: bool = False,
        limits: Limits | None = None,
        peer_of: Callable[[socket.socket], Peer] = credentials,
        defer: Callable[[Callable[[], None]], object] | None = None,
    ) -> None:
        """Keep the arguments; nothing is opened before `start`.

        `group`: its members operate the robot. `everyone`: every user of the machine may connect, to look and to
        stop it; without it, only those who may operate can. `defer`: has a piece of work done soon, at a moment
        that suits the control loop; the event loop's next pass by default.
        """
        self._defer = defer
        self.path = path
        self.limits = limits or Limits()
        self.counters = LinkCounters()
        self.hello = protocol.hello(version)
        self._version = version
        self._events = events
        self._handlers = dict(handlers)
        self._group = group
        self._everyone = everyone
        self._peer_of = peer_of
        self._access = Access(-1)
        self._snapshot = Snapshot(status, self.limits.snapshot_age_s)
        self._log = EventLog(events)
        self._connections: set[Connection] = set()
        self._turns: deque[Connection] = deque()
        self._running = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: Listener | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._complained: dict[str, float] = {}
        self._own = {
            "status": self._do_status,
            "watch": self._do_watch,
            "events": self._do_events,
            "version": self._do_version,
        }

    def claim(self) -> None:
        """Take the path for this daemon; clients that connect wait until `start`. Raises SocketError.

        Before anything is said to a motor: a second daemon of the same robot must end here.
        """
        group = None if self._group is None else group_id(self._group)
        self._access = own_access(group)
        self._listener = listen(self.path, group, self._everyone)

    async def start(self) -> None:
        """Serve. Raises SocketError."""
        if self._listener is None:
            self.claim()
        assert self._listener is not None
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._connects = TokenBucket(self.limits.connects_per_s, 2 * self.limits.connections, now)
        self._requests = TokenBucket(self.limits.all_requests_per_s, self.limits.all_requests_per_s / 10, now)
        self._loop.add_reader(self._listener.socket.fileno(), self._accept)
        self._timer = self._loop.call_later(0.25, self._inspect)

    async def close(self) -> None:
        """Stop listening, cut all clients off, cancel what is still being worked on. Never raises."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        asyncio.get_running_loop().remove_reader(listener.socket.fileno())
        listener.close()
        if self._timer is not None:
            self._timer.cancel()
        self._turns.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # What is sent already gets a moment to leave; a client that does not read is not waited for.
        for end in (Connection.close, Connection.abort):
            for connection in list(self._connections):
                end(connection)
            for _ in range(10):
                if self._connections:
                    await asyncio.sleep(0)

    # Connections

    def _accept(self) -> None:
        """Take one new client; the rest wait for the loop's next pass, in the kernel."""
        if self._listener is None:
            return
        now = self._loop.time()
        wait = self._connects.wait(now)
        if wait > 0:
            descriptor = self._listener.socket.fileno()
            self._loop.remove_reader(descriptor)
            self._loop.call_later(wait, self._accept_again)
            return
        try:
            accepted, _ = self._listener.socket.accept()
        except BlockingIOError:
            return
        except OSError as error:
            # Out of descriptors, most likely: the client stays in the queue, so look again later, not at once.
            self._connects.take(self.limits.connects_per_s)
            self._emit_sparsely("link.accept_failed", f"a client could not be taken: {error.strerror}")
            return
        self._connects.take(1)
        try:
            peer = self._peer_of(accepted)
        except OSError:
            accepted.close()
            return
        role = self._access.role(peer)
        limit = self.limits.connections - (self.limits.reserved if role < Role.OPERATOR else 0)
        if len(self._connections) >= limit:
            self.complain("refused", f"a client was sent away: {limit} connections are open", peer)
            self._send_away(accepted, limit)
            return
        self.counters.accepted += 1
        accepted.setblocking(False)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.limits.send_buffer)
        connection = Connection(self, peer, role)
        self._connections.add(connection)
        self._spawn(self._open(connection, accepted))

    def _accept_again(self) -> None:
        if self._listener is not None:
            self._loop.add_reader(self._listener.socket.fileno(), self._accept)

    def _send_away(self, accepted: socket.socket, limit: int) -> None:
        message = f"found {limit} open connections, expected fewer; close one and try again"
        try:
            accepted.send(self.hello + protocol.error(None, "too_many_connections", message), socket.MSG_DONTWAIT)
        except OSError:
            pass
        finally:
            accepted.close()

    async def _open(self, connection: Connection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted)
        except OSError:
            accepted.close()
            self._connections.discard(connection)

    def forget(self, connection: Connection) -> None:
        """A connection has ended."""
        self._connections.discard(connection)

    def _inspect(self) -> None:
        """Look after clients that hang, twice a second or so."""
        now = self._loop.time()
        for connection in list(self._connections):
            connection.inspect(now)
        self._log.collect()
        self._timer = self._loop.call_later(0.25, self._inspect)

    # Turns

    def enqueue(self, connection: Connection) -> None:
        """Give a connection its turn, after all who wait already."""
        if connection.queued or self._listener is None:
            return
        connection.queued = True
        self._turns.append(connection)
        if not self._running:
            self._running = True
            self._soon(self._take_turn)

    def _soon(self, work: Callable[[], None]) -> None:
        (self._defer or self._loop.call_soon)(work)

    def _take_turn(self) -> None:
        if not self._turns:
            self._running = False
            return
        now = self._loop.time()
        wait = self._requests.wait(now)
        if wait > 0:
            self._loop.call_later(wait, self._take_turn)
            return
        connection = self._turns.popleft()
        connection.queued = False
        self._requests.take(connection.turn(now))
        if connection.runnable:
            connection.queued = True
            self._turns.append(connection)
        if self._turns:
            self._soon(self._take_turn)
        else:
            self._running = False

    # Requests

    def handle(self, connection: Connection, request: Request) -> None:
        """Do one request; the answer is sent now, or when the operation's awaitable is done."""
        self.counters.requests += 1
        try:
            if request.problem is not None:
                raise Refused("bad_request", request.problem)
            if own := self._own.get(request.op):
                own(connection, request)
                return
            handler = self._handlers.get(request.op)
            if handler is None:
                known = ", ".join(sorted(self._own | self._handlers))
                raise Refused("unknown_op", f'found op "{request.op:.40}", expected one of {known}')
            if connection.role < handler.role:
                raise Refused("not_permitted", self._not_permitted(request.op, connection.peer))
            if connection.in_flight >= self.limits.in_flight:
                raise Refused("busy", "found too many unanswered requests on this connection; wait for an answer")
            told = (request.args, connection.peer) if handler.tell_peer else (request.args,)
            result = handler.call(*told)
            if isinstance(result, Awaitable):
                connection.in_flight += 1
                self._spawn(self._finish(connection, request, result))
                return
            self._answer(connection, request, result)
        except Exception as error:
            self._answer_error(connection, request, error)

    async def _finish(self, connection: Connection, request: Request, result: Awaitable[Any]) -> None:
        try:
            self._answer(connection, request, await result)
        except asyncio.CancelledError:
            connection.send(protocol.error(request.id, "closing", "the daemon is closing"))
            raise
        except Exception as error:
            self._answer_error(connection, request, error)
        finally:
            connection.in_flight -= 1

    def _answer(self, connection: Connection, request: Request, result: Any) -> None:
        self._snapshot.forget()
        connection.send(protocol.result(request.id, protocol.pack(result)))

    def _answer_error(self, connection: Connection, request: Request, error: Exception) -> None:
        self._snapshot.forget()
        if isinstance(error, Refused):
            connection.send(protocol.error(request.id, error.code, error.message, error.reasons))
            return
        self.handler_failed(request.op, error)
        told = f"{request.op} failed inside the daemon: {type(error).__name__}: {error}"
        connection.send(protocol.error(request.id, "internal", told[:1000].encode(errors="replace").decode()))

    def handler_failed(self, op: str, error: Exception) -> None:
        """Tell of an operation that failed in a way that nobody foresaw."""
        self._emit_sparsely(
            "link.handler_failed",
            f"the operation {op} failed: {type(error).__name__}: {error}",
            op=op,
            traceback="".join(traceback.format_exception(error, limit=-4))[-2000:],
        )

    def _not_permitted(self, op: str, peer: Peer) -> str:
        group = f" or a member of the group {self._group}" if self._group else ""
        return (
            f"found user id {peer.uid}, expected root, the daemon's own user (id {self._access.owner}){group}: "
            f"{op} is for operators; you may look (status, watch, joints, events) and estop"
        )

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Own operations

    def _do_status(self, connection: Connection, request: Request) -> None:
        connection.send(protocol.result(request.id, self._snapshot.body(self._loop.time())))

    def _do_watch(self, connection: Connection, request: Request) -> None:
        interval = number(request.args, "interval", 0.1)
        if not 0 < interval <= 60:
            raise Refused("bad_request", f"found interval {interval}, expected more than 0 and at most 60 seconds")
        interval = max(interval, self.limits.watch_interval_s)
        connection.send(protocol.result(request.id, protocol.pack({"interval": interval})))
        connection.subscribe("watch", StatusStream(request.id, interval, self._snapshot))

    def _do_events(self, connection: Connection, request: Request) -> None:
        since, follow = request.args.get("since", 0), request.args.get("follow", False)
        if type(since) is not int or since < 0:
            raise Refused("bad_request", "found a since that is no number of an event, expected an integer from 0")
        if type(follow) is not bool:
            raise Refused("bad_request", "found a follow that is neither true nor false")
        self._log.collect()
        page, cursor = self._log.page(since)
        connection.send(protocol.result(request.id, page))
        if follow:
            connection.subscribe("events", EventStream(request.id, cursor, self._log))

    def _do_version(self, connection: Connection, request: Request) -> None:
        result = {"reflexd": self._version, "protocol": protocol.PROTOCOL}
        connection.send(protocol.result(request.id, protocol.pack(result)))

    # Complaints

    def complain(self, kind: str, message: str, peer: Peer) -> None:
        """Count and tell what a client did wrong; `kind` is the counter's name."""
        setattr(self.counters, kind, getattr(self.counters, kind) + 1)
        self._emit_sparsely(f"link.{kind}", message, pid=peer.pid, uid=peer.uid)

    def _emit_sparsely(self, name: str, message: str, **fields: Any) -> None:
        """At most one event of a kind per second: a client must not fill the log."""
        now = self._loop.time()
        if now - self._complained.get(name, float("-inf")) >= 1.0:
            self._complained[name] = now
            level: Level = "error" if name == "link.handler_failed" else "warning"
            self._events.emit(name, message, level=level, **fields)


def number(args: Mapping[str, Any], key: str, default: float) -> float:
    """A number among a request's arguments. Raises Refused."""
    value = args.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("bad_request", f"found {key} of type {type(value).__name__}, expected a number")
    return float(value)
