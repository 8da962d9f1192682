"""One connection to a policy server: kept up by a thread of its own, and a deadline on every question.

Runs in the worker's interpreter: Python 3.9, standard library only.
"""

from __future__ import annotations

import random
import threading
import time
from concurrent import futures
from typing import Any, Callable, Protocol

from runtime.policy.worker.errors import BackendError, Unavailable, words

# Longest time for one attempt to reach the server: looking up its name, TCP, TLS, what it says of itself.
_CONNECT_S = 5.0
# After the first failure, and after many.
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 2.0
# Between two looks whether an idle connection still stands.
_LOOK_S = 0.25
# A peer ends its own questions at the deadline; one that is stuck past it by this part is closed from outside.
_GRACE = 0.1
# Longest text of a server that is passed on.
_TEXT_MAX = 300


class Peer(Protocol):
    """Speaks one server's protocol. A thread of its own calls it, `close` may come from another.

    It may raise anything: the connection is then given up and made anew after a while. Unavailable and foreign
    errors mean that there is no answer this time; any other BackendError that server and config do not fit.
    """

    def connect(self, timeout_s: float) -> None:
        """Reach the server, learn and check what it says of itself, within about `timeout_s`."""

    def alive(self) -> bool:
        """Whether the connection stands, as far as can be told at once, without asking the server."""

    def ask(self, request: Any, timeout_s: float) -> Any:
        """The server's answer to `request`; TimeoutError when there is none after `timeout_s`."""

    def close(self) -> None:
        """Cut the connection, so that a call under way in another thread ends. Never waits, never raises."""


class Backoff:
    """How long to wait before the next attempt: doubles, and differs from robot to robot."""

    def __init__(self, uniform: Callable[[float, float], float] = random.SystemRandom().uniform) -> None:
        """`uniform`: not the module's own: robots whose policies seed that would all come at once."""
        self._next_s = _FIRST_WAIT_S
        self._uniform = uniform

    def answered(self) -> None:
        """The server serves: the next failure is the first one."""
        self._next_s = _FIRST_WAIT_S

    def failed(self) -> float:
        """An attempt failed, or the connection was lost: seconds to wait, half of them by chance."""
        longest_s, self._next_s = self._next_s, min(2 * self._next_s, _LONGEST_WAIT_S)
        return self._uniform(longest_s / 2, longest_s)


class _Call:
    """A question under way."""

    def __init__(self, request: Any, until: float) -> None:
        self.request = request
        self.until = until
        self.answer: futures.Future[Any] = futures.Future()


class Link:
    """Asks a peer, one question at a time, and never waits longer than the deadline.

    Its thread connects, connects again with back-off, and calls the peer. Whatever that thread is held up by, an
    address that cannot be looked up or a server that does not read, the caller has its answer or Unavailable in
    time. An answer that comes too late is never taken for that to the next question: the connection is cut first.
    """

    def __init__(
        self,
        peer: Peer,
        server: str,
        deadline_s: float,
        backoff: Backoff | None = None,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """`server`: what it is called in messages. Connects at once, without waiting for it."""
        self._peer = peer
        self._server = server
        self._deadline_s = deadline_s
        self._backoff = backoff or Backoff()
        self._ended = threading.Event()
        self._wait = wait or self._ended.wait
        self._changed = threading.Condition()
        self._up = False
        self._down: BackendError | None = None
        """Why there is no connection, until the next attempt begins."""
        self._call: _Call | None = None
        self._thread = threading.Thread(target=self._keep_up, name="remote", daemon=True)
        self._thread.start()

    def ask(self, request: Any) -> Any:
        """The peer's answer. Raises Unavailable, at the deadline at the latest, or the peer's BackendError."""
        until = time.monotonic() + self._deadline_s
        call = _Call(request, until)
        with self._changed:
            # An attempt that is under way is waited for; between two attempts nobody is kept waiting.
            self._changed.wait_for(lambda: self._up or self._down is not None, self._deadline_s)
            if self._down is not None:
                raise type(self._down)(*self._down.args)
            if not self._up:
                raise Unavailable(f"{self._server}: no connection within {self._deadline_s:g} s")
            self._call = call
            self._changed.notify_all()
        try:
            return call.answer.result(until - time.monotonic() + _GRACE * self._deadline_s)
        except futures.TimeoutError:
            with self._changed:
                self._up, self._call = False, None
            self._peer.close()
            raise self._late() from None

    def close(self) -> None:
        """Cut the connection and make no other one; nobody asks any more. Does not wait for the thread to end."""
        self._ended.set()
        with self._changed:
            self._up = False
            self._changed.notify_all()
        self._peer.close()

    def _keep_up(self) -> None:
        while not self._ended.is_set():
            try:
                self._peer.connect(_CONNECT_S)
                self._answer_calls()
            except Exception as error:
                self._peer.close()
                self._give_up(error)
            self._wait(self._backoff.failed())
            with self._changed:
                self._down = None

    def _answer_calls(self) -> None:
        """Until the connection is to be given up: raises why."""
        with self._changed:
            self._up = not self._ended.is_set()
            self._changed.notify_all()
        while True:
            call = self._wait_for_call()
            answer = self._peer.ask(call.request, max(0.0, call.until - time.monotonic()))
            with self._changed:
                self._call = None
            self._backoff.answered()
            call.answer.set_result(answer)

    def _wait_for_call(self) -> _Call:
        with self._changed:
            while not self._changed.wait_for(lambda: self._call is not None or not self._up, _LOOK_S):
                if not self._peer.alive():
                    raise Unavailable(f"{self._server}: the connection is lost")
            if self._call is None:
                raise self._late()
            return self._call

    def _give_up(self, error: Exception) -> None:
        if isinstance(error, TimeoutError):
            error = self._late() if self._up else Unavailable(f"{self._server}: no connection in {_CONNECT_S:g} s")
        elif not isinstance(error, BackendError):
            error = Unavailable(f"{self._server}: {harmless(words(error))}")
        with self._changed:
            self._up, self._down = False, error
            call, self._call = self._call, None
            self._changed.notify_all()
        if call is not None:
            call.answer.set_exception(error)

    def _late(self) -> Unavailable:
        return Unavailable(f"{self._server}: no answer within {self._deadline_s:g} s")


def harmless(text: str) -> str:
    """A server's words in one line that harms no log and is not too long."""
    line = "".join(sign if sign.isprintable() else "?" for sign in " ".join(text.split()))
    return line if len(line) <= _TEXT_MAX else f"{line[:_TEXT_MAX]} ..."


def last_line(text: str) -> str:
    """The last line of a server's traceback."""
    return harmless(([line for line in text.splitlines() if line.strip()] or ["no text"])[-1])
