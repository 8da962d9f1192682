"""Runs in the copy: one session of pytest that forks for each mutant, so that what tests import is there already.

A child runs the tests that call the changed function up to the first one that fails: the last mutant's killer,
those of its own file, then others, the quickest first, as many as fit into some seconds.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from pathlib import Path

import pytest
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state

from tests.mutants.tree import Mutant

TESTS = ["tests/safety", "tests/runtime/test_watches.py"]
LEFT_OUT = ["tests/safety/test_demo_arm.py", "tests/safety/test_hazards.py"]
"""Too slow for thousands of runs; no test of `safety`."""

MOST_S = 5.0
"""How long the tests for one mutant take, when it survives; those of its own file are always run."""
PATIENCE_S = 20.0
PATIENCE = 10
"""A mutant has timed out when its tests take so long, and so many times as long as without it."""

FAILED = 7
"""Exit status of a child whose test has failed."""

KILLED, SURVIVED, TIMED_OUT, UNCALLED = "killed", "survived", "timed out", "not called by any test"


class Session:
    """A plugin of pytest: takes the place of its loop over the tests."""

    def __init__(self, mutants: Sequence[Mutant], stats: Path, tell: Callable[[Mutant, str], None]) -> None:
        """`stats`: where to keep which test calls what, and how long it takes; `tell` hears each verdict."""
        self._mutants = mutants
        self._stats = stats
        self._tell = tell

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Find out what calls what, then try all mutants."""
        gc.freeze()  # a child that collects garbage would copy all of it
        status, failed = _in_child(lambda: self._measure(session), timeout_s=0)
        if status:
            what = session.items[failed].nodeid if failed is not None else "a test"
            raise pytest.UsageError(f"{what} fails without any mutant")
        stats = json.loads(self._stats.read_text())
        seconds = {nodeid: each["seconds"] for nodeid, each in stats.items()}
        for function, mutants in groupby(self._mutants, key=lambda mutant: mutant.covered_by):
            items = [item for item in session.items if function in stats[item.nodeid]["calls"]]
            own = f"/test_{function.split('.')[-2]}.py"
            items.sort(key=lambda item: (own not in item.nodeid, seconds[item.nodeid]))
            ends = list(accumulate(seconds[item.nodeid] for item in items))
            items = [item for item, end in zip(items, ends, strict=True) if own in item.nodeid or end < MOST_S]
            timeout_s = PATIENCE_S + PATIENCE * sum(seconds[item.nodeid] for item in items)
            for mutant in mutants:
                verdict, killer = _try(session, mutant, items, timeout_s)
                if killer is not None:
                    items.insert(0, items.pop(killer))  # it may kill the next one, too
                self._tell(mutant, verdict)
        return True

    def _measure(self, session: pytest.Session) -> int | None:
        """Note what each test calls; one that was run before with the same files keeps what it had.

        Returns the number of a test that fails.
        """
        set_mutant_under_test("stats")
        kept = json.loads(self._stats.read_text()) if self._stats.exists() else {}
        safety = b"".join(path.read_bytes() for path in sorted(Path("safety").rglob("*.py")))
        files = {item.path: hashlib.sha256(safety + item.path.read_bytes()).hexdigest() for item in session.items}
        stats = {
            item.nodeid: kept[item.nodeid]
            for item in session.items
            if kept.get(item.nodeid, {}).get("files") == files[item.path]
        }
        fresh = [(number, item) for number, item in enumerate(session.items) if item.nodeid not in stats]
        followers = [*(item for _, item in fresh), None][1:]
        for (number, item), following in zip(fresh, followers, strict=True):
            began = time.monotonic()
            if not _passes(session, item, following):
                return number
            seconds, calls = time.monotonic() - began, sorted(state()._stats)
            stats[item.nodeid] = {"files": files[item.path], "seconds": seconds, "calls": calls}
            state()._stats.clear()
        self._stats.write_text(json.dumps(stats))
        return None


def _try(
    session: pytest.Session, mutant: Mutant, items: Sequence[pytest.Item], timeout_s: float
) -> tuple[str, int | None]:
    """The verdict, and the number of the test that has killed the mutant."""
    if not items:
        return UNCALLED, None

    def first_failure() -> int | None:
        set_mutant_under_test(mutant.key)
        tests = enumerate(zip(items, [*items[1:], None], strict=True))
        return next((number for number, pair in tests if not _passes(session, *pair)), None)

    status, failed = _in_child(first_failure, timeout_s)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM:
        return TIMED_OUT, None
    return (KILLED, failed) if status else (SURVIVED, None)


def _passes(session: pytest.Session, item: pytest.Item, following: pytest.Item | None) -> bool:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return not session.testsfailed


def _in_child(first_failure: Callable[[], int | None], timeout_s: float) -> tuple[int, int | None]:
    """Call it in a process of its own. Returns the wait status, 0 when nothing fails, and what it has returned."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        status = os.waitpid(child, 0)[1]
        number = os.read(reader, 16) if os.WIFEXITED(status) and os.WEXITSTATUS(status) == FAILED else b""
        os.close(reader)
        return status, int(number) if number else None
    try:
        signal.setitimer(signal.ITIMER_REAL, timeout_s)  # whatever the interpreter hangs in, the signal ends it
        failed = first_failure()
        if failed is None:
            os._exit(0)
        os.write(writer, str(failed).encode())
        os._exit(FAILED)
    finally:
        os._exit(1)


def _main(todo: Path, verdicts: Path, stats: Path) -> int:
    mutants: list[Mutant] = pickle.loads(todo.read_bytes())

    def tell(mutant: Mutant, verdict: str) -> None:
        with verdicts.open("a") as file:
            file.write(mutant.verdict(verdict))
        if verdict != KILLED:
            print(f"{mutant.file}: {mutant.function}: {verdict}\n{mutant.change}", file=sys.stderr)

    options = ["--hypothesis-profile=mutants", "-q", "-m", "not system", "-p", "no:cacheprovider"]
    return pytest.main(
        [*options, *TESTS, *(f"--ignore={each}" for each in LEFT_OUT)], [Session(mutants, stats, tell)]
    )


if __name__ == "__main__":
    sys.exit(_main(*map(Path, sys.argv[1:])))
