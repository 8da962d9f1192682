"""One client's connection: bytes in, one piece of work per turn, bytes out, all of it bounded."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from runtime.link import protocol
from runtime.link.budget import TokenBucket
from runtime.link.errors import FrameError
from runtime.link.peers import Peer, Role
from runtime.link.streams import Stream

if TYPE_CHECKING:
    from runtime.link.server import ControlServer

_BYTES_PER_TOKEN = 1024
"""A request costs one token, and one more per KiB: unpacking is paid for by its size."""


class Connection(asyncio.BufferedProtocol):
    """A client. It does no work on its own: it asks the server for a turn, and a turn is one frame in or out."""

    def __init__(self, server: ControlServer, peer: Peer, role: Role) -> None:
        self.peer = peer
        self.role = role
        self.in_flight = 0
        """Requests whose answer is still being worked on."""
        self.queued = False
        """Whether it has asked for a turn; the server's mark."""
        self._server = server
        self._limits = server.limits
        self._loop = asyncio.get_running_loop()
        self._decoder = protocol.Decoder(protocol.MAX_REQUEST)
        self._bucket = TokenBucket(self._limits.requests_per_s, self._limits.burst, self._loop.time())
        self._transport: asyncio.Transport | None = None
        self._failed = False
        self._reading = True
        self._throttled = False
        self._partial_since: float | None = None
        self._blocked_since: float | None = None
        self._closing_since: float | None = None
        self._streams: dict[str, tuple[Stream, asyncio.TimerHandle]] = {}
        self._due: deque[str] = deque()

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet the client."""
        # uvloop's transports are no subclass of asyncio's, whatever their methods.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)
        self._transport.write(self._server.hello)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client; whole requests that have arrived are still done, above all an e-stop."""
        if self._transport is not None and self._closing_since is None:
            self._take_last_words(self._transport)
        self._transport = None
        self._blocked_since = None
        self.unsubscribe()
        self._server.forget(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the transport puts what it reads."""
        return self._decoder.space()

    def buffer_updated(self, nbytes: int) -> None:
        """The transport has read something."""
        self._decoder.received(nbytes)
        if self._decoder.ready:
            self._partial_since = None
            if self._decoder.full:
                self._pause()
            if not self._throttled:
                self._server.enqueue(self)
        elif self._partial_since is None:
            self._partial_since = self._loop.time()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is told things."""
        self._blocked_since = self._loop.time()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._blocked_since = None
        if self.runnable:
            self._server.enqueue(self)

    # From the server

    @property
    def runnable(self) -> bool:
        """Whether a turn would do something."""
        return self._has_request or bool(self._due)

    @property
    def _has_request(self) -> bool:
        return self._decoder.ready and not self._throttled and not self._failed and not self._backed_up

    @property
    def _backed_up(self) -> bool:
        transport = self._transport
        return transport is not None and transport.get_write_buffer_size() > self._limits.write_buffer

    def turn(self, now: float) -> float:
        """Do one request, or else send one frame that is due; returns what it cost, in tokens."""
        if self._has_request:
            wait = self._bucket.wait(now)
            if wait == 0:
                return self._do_request(now)
            self._throttle(wait)
        if self._due:
            self._push(self._due.popleft(), now)
        return 0.0

    def _do_request(self, now: float) -> float:
        try:
            body = self._decoder.frame()
            if body is None:
                return 0.0
            cost = 1 + len(body) / _BYTES_PER_TOKEN
            request = protocol.parse_request(body)
        except FrameError as error:
            self._server.complain(error.code, f"a client broke the protocol: {error}", self.peer)
            self.fail(error.code, str(error))
            return 1.0
        self._bucket.take(cost)
        self._server.handle(self, request)
        if not self._decoder.ready:
            self._resume()
            if self._decoder.pending:
                self._partial_since = now
        return cost

    def send(self, frame: bytes) -> None:
        """Send a frame, if the client is still there."""
        if self._transport is not None and self._closing_since is None:
            self._transport.write(frame)

    def fail(self, code: str, message: str) -> None:
        """Tell the client what went wrong with the connection, and close it."""
        self._failed = True
        self.send(protocol.error(None, code, message))
        self.close()

    def close(self) -> None:
        """Close as soon as everything is sent."""
        self.unsubscribe()
        if self._transport is not None and self._closing_since is None:
            self._closing_since = self._loop.time()
            self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.unsubscribe()
        self._closing_since = self._closing_since or self._loop.time()
        if self._transport is not None:
            self._transport.abort()

    def subscribe(self, name: str, stream: Stream) -> None:
        """Tell the client about `stream` from now on, in place of an earlier one of this name."""
        if name in self._streams:
            self._streams.pop(name)[1].cancel()
        self._schedule(name, stream, self._loop.time())

    def unsubscribe(self) -> None:
        """Tell the client nothing any more without being asked."""
        for _, timer in self._streams.values():
            timer.cancel()
        self._streams.clear()
        self._due.clear()

    def inspect(self, now: float) -> None:
        """Give up on a client that has left a frame half sent, or does not read, for too long."""
        limits = self._limits
        if self._partial_since is not None and now - self._partial_since > limits.frame_timeout_s:
            message = f"found half a frame for more than {limits.frame_timeout_s:g} s, expected the rest of it"
            self._partial_since = None
            self._server.complain("half_sent", f"a client was cut off: {message}", self.peer)
            self.fail("half_sent", message)
        since = self._blocked_since or self._closing_since
        if since is not None and now - since > limits.stuck_timeout_s:
            self._server.complain("stuck", "a client did not read for too long and was cut off", self.peer)
            self.abort()

    # Own

    def _take_last_words(self, transport: asyncio.Transport) -> None:
        """Read what a client sent before it left: a failed write ends a transport before it has read all."""
        descriptor = transport.get_extra_info("socket").fileno()
        with suppress(OSError):
            if not self._decoder.full:
                self._decoder.received(os.readv(descriptor, [self._decoder.space()]))
        if self.runnable:
            self._server.enqueue(self)

    def _schedule(self, name: str, stream: Stream, at: float) -> None:
        self._streams[name] = stream, self._loop.call_at(at, self._tell, name, at)

    def _tell(self, name: str, at: float) -> None:
        stream, _ = self._streams[name]
        now = self._loop.time()
        # A period that the loop missed is not made up for.
        self._schedule(name, stream, at + stream.interval if at + stream.interval > now else now + stream.interval)
        if not stream.waiting() or name in self._due:
            return
        if self._blocked_since is None:
            self._due.append(name)
            self._server.enqueue(self)
        elif stream.skips:
            self._server.counters.skipped += 1

    def _push(self, name: str, now: float) -> None:
        stream, _ = self._streams[name]
        try:
            frame = stream.next_frame(now)
        except Exception as error:
            self._server.handler_failed(name, error)
            return
        if frame is not None:
            self.send(frame)
        if not stream.skips and self._blocked_since is None and stream.waiting():
            self._due.append(name)

    def _throttle(self, wait: float) -> None:
        self._throttled = True
        self._pause()
        self._server.counters.throttled += 1
        self._loop.call_later(wait, self._unthrottle)

    def _unthrottle(self) -> None:
        self._throttled = False
        if self.runnable:
            self._server.enqueue(self)

    def _pause(self) -> None:
        if self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and self._transport is not None and self._closing_since is None:
            self._reading = True
            self._transport.resume_reading()
