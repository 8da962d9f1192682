"""The connection to a policy server, with peers that do whatever goes wrong."""

from __future__ import annotations

import threading

import pytest

from runtime.policy.worker.errors import BackendError, Unavailable
from runtime.policy.worker.remote.base import Backoff, Link, last_line

# Long for a machine that is busy, and never waited for when all is well.
PATIENCE_S = 20.0


class Scripted:
    """A peer that does what the test says; counts what is asked of it."""

    def __init__(self):
        self.connects = 0
        self.closed = threading.Event()
        self.stands = True
        self.on_connect = lambda: None
        self.on_ask = lambda request, timeout_s: request

    def connect(self, timeout_s):
        self.connects += 1
        self.closed.clear()
        self.on_connect()

    def alive(self):
        return self.stands

    def ask(self, request, timeout_s):
        return self.on_ask(request, timeout_s)

    def close(self):
        self.closed.set()


class Waits:
    """In place of sleep: notes each wait, and takes none unless it is held."""

    def __init__(self):
        self.taken = []
        self.go = threading.Event()
        self.go.set()
        self.reached = threading.Event()

    def __call__(self, wait_s):
        self.taken.append(wait_s)
        self.reached.set()
        assert self.go.wait(PATIENCE_S)


@pytest.fixture
def peer():
    return Scripted()


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture
def link(peer, waits):
    def make(deadline_s=PATIENCE_S):
        return Link(peer, "the server", deadline_s, Backoff(uniform=lambda low, high: high), waits)

    return make


def test_questions_are_answered(link, peer):
    asked = link()
    assert [asked.ask(number) for number in range(3)] == [0, 1, 2]
    assert peer.connects == 1


def test_a_peer_is_told_how_much_time_there_is(link, peer):
    peer.on_ask = lambda request, timeout_s: timeout_s
    assert 0 < link(5.0).ask(None) <= 5.0


def test_back_off_doubles_up_to_a_limit_and_differs():
    backoff = Backoff(uniform=lambda low, high: high)
    assert [backoff.failed() for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    backoff.answered()
    assert backoff.failed() == 0.1
    assert Backoff(uniform=lambda low, high: low).failed() == 0.05
    assert len({Backoff().failed() for _ in range(9)}) > 1


def test_a_server_that_is_not_there_is_told_at_once_between_two_attempts(link, peer, waits):
    peer.on_connect = refuse
    waits.go.clear()
    asked = link()
    with pytest.raises(Unavailable, match="the server: ConnectionRefusedError: nobody listens"):
        asked.ask(1)
    assert waits.taken == [0.1]
    peer.on_connect = lambda: None
    waits.go.set()
    assert until(lambda: asked.ask(2)) == 2
    assert peer.connects == 2


def test_attempts_that_fail_are_ever_further_apart_until_a_question_is_answered(link, peer, waits):
    failures = iter([True] * 5)
    peer.on_connect = lambda: next(failures, False) and refuse()
    asked = link()
    assert until(lambda: asked.ask(1)) == 1
    assert waits.taken == [0.1, 0.2, 0.4, 0.8, 1.6]
    peer.on_ask = lambda request, timeout_s: refuse()
    with pytest.raises(Unavailable):
        asked.ask(2)
    assert waits.taken[5] == 0.1


def test_a_server_that_only_lets_connect_is_left_alone_as_well(link, peer, waits):
    peer.on_ask = lambda request, timeout_s: refuse()
    asked = link()
    for _ in range(4):
        with pytest.raises(Unavailable):
            asked.ask(1)
        waits.reached.wait(PATIENCE_S)
        waits.reached.clear()
    assert waits.taken[:4] == [0.1, 0.2, 0.4, 0.8]


def test_no_answer_in_time(link, peer):
    def late(request, timeout_s):
        raise TimeoutError("some words of a library")

    peer.on_ask = late
    with pytest.raises(Unavailable, match=r"^the server: no answer within 20 s$"):
        link().ask(1)
    assert peer.closed.is_set() or peer.connects == 2


def test_an_answer_after_the_deadline_is_not_that_to_the_next_question(link, peer):
    """A peer that is stuck is closed from outside, and what it says then is dropped."""
    cut = []

    def stuck_once(request, timeout_s):
        if request == "first":
            cut.append(peer.closed.wait(PATIENCE_S))
        return f"answer to the {request}"

    peer.on_ask = stuck_once
    asked = link(0.2)
    with pytest.raises(Unavailable, match=r"no answer within 0.2 s"):
        asked.ask("first")
    assert until(lambda: asked.ask("second")) == "answer to the second"
    assert peer.connects == 2
    assert cut == [True], "by the caller, whose time was up"


def test_nobody_waits_longer_than_the_deadline_for_a_connection(link, peer):
    """A name that is being looked up, for example."""
    release = threading.Event()
    peer.on_connect = lambda: release.wait(PATIENCE_S)
    asked = link(0.1)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"no connection within 0.1 s"):
            asked.ask(1)
    release.set()
    assert until(lambda: asked.ask(2)) == 2


def test_a_connection_that_is_lost_while_nobody_asks_is_made_anew(link, peer, waits):
    asked = link()
    asked.ask(1)
    peer.on_connect = lambda: setattr(peer, "stands", True)
    peer.stands = False
    assert waits.reached.wait(PATIENCE_S)
    assert until(lambda: asked.ask(2)) == 2
    assert peer.connects == 2


@pytest.mark.parametrize("where", ["on_connect", "on_ask"])
def test_a_server_that_does_not_fit_is_no_server_that_is_away(link, peer, where):
    def wrong(*args):
        raise BackendError("another model")

    setattr(peer, where, wrong)
    with pytest.raises(BackendError, match=r"^another model$") as caught:
        link().ask(1)
    assert not isinstance(caught.value, Unavailable)


def test_the_last_line_of_a_traceback():
    assert last_line("Traceback:\n  File\nKeyError: 'x'\n\n") == "KeyError: 'x'"
    assert last_line("bad\x1b[31m\x07") == "bad?[31m?"
    assert last_line("  \n") == "no text"
    assert last_line("x" * 1000) == "x" * 300 + " ..."


def refuse():
    raise ConnectionRefusedError("nobody listens")


def until(ask):
    """The first answer: a connection that is being made anew is waited for."""
    for _ in range(10_000):
        try:
            return ask()
        except Unavailable:
            continue
    raise AssertionError("no answer")
