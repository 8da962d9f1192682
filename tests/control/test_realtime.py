from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from runtime.control import realtime
from runtime.control.realtime import Realtime, RealtimeError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What would be asked of the system; nothing of this test process really changes."""
    asked: dict[str, Any] = {"threads": []}

    def scheduler(task: int, policy: int, param: Any) -> None:
        asked["threads"].append((task, policy & ~os.SCHED_RESET_ON_FORK, param.sched_priority))
        assert policy & os.SCHED_RESET_ON_FORK, "nothing that is started later may inherit real time"

    monkeypatch.setattr(os, "sched_setscheduler", scheduler)
    monkeypatch.setattr(os, "sched_setaffinity", lambda task, cpus: asked.__setitem__("cpus", set(cpus)))
    monkeypatch.setattr(realtime, "_lock_memory", lambda: "all pages")
    monkeypatch.setattr(Realtime, "_hold_latency", lambda self: "held")
    monkeypatch.setattr(realtime.sys, "setswitchinterval", lambda s: asked.__setitem__("switch", s))
    return asked


def apply(subject: Realtime, required: bool = False) -> None:
    subject.apply(
        priority=50, cpus=[0], lock_memory=True, dma_latency=True, switch_interval=0.0001, required=required
    )


def test_everything_is_asked_for_and_reported(asked: dict[str, Any]) -> None:
    subject = Realtime()
    apply(subject, required=True)
    assert asked["threads"][0] == (0, os.SCHED_FIFO, 50)
    assert all(priority == 40 for _, _, priority in asked["threads"][1:]), "helpers run below the loop"
    assert asked["switch"] == 0.0001
    assert all(item.achieved for item in subject.items)
    assert {"scheduler", "cpu affinity", "memory lock", "cpu latency"} <= {item.name for item in subject.items}


def test_what_is_refused_is_reported_with_the_reason_and_required_refuses_to_run(
    asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    subject = Realtime()
    apply(subject)
    scheduler = next(item for item in subject.items if item.name == "scheduler")
    assert not scheduler.achieved
    assert "LimitRTPRIO" in scheduler.detail, "it says what to do"
    with pytest.raises(RealtimeError, match="scheduler: Operation not permitted"):
        apply(Realtime(), required=True)


def test_a_cpu_that_does_not_exist_is_reported(asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(OSError, match="Invalid argument"):
        realtime._set_affinity([1000])


@pytest.fixture
def collector() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("collector")
def test_frozen_memory_is_not_looked_at_again() -> None:
    subject = Realtime()
    subject.freeze_memory()
    assert not gc.isenabled()
    assert gc.get_freeze_count() > 1000


NOT_READ = """
import re, sys
import numpy
from pathlib import Path
from runtime.control import realtime

def not_read():
    found, inside = [], False
    locked = set(realtime._mapped_files())
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if head := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = tuple(int(text, 16) for text in head.groups()) in locked
        elif inside and (size := re.match("Size: +([0-9]+)", line)):
            pages = int(size[1])
        elif inside and (there := re.match("Rss: +([0-9]+)", line)):
            found.append(pages - int(there[1]))
    return sum(found)

before = not_read()
try:
    realtime._lock_memory()
except OSError as error:
    print("refused", error)
else:
    print(before, not_read())
"""


def test_no_page_of_a_library_has_to_be_read_once_memory_is_locked() -> None:
    """A page that was not used yet would be read in the middle of a tick, and a disk can take seconds."""
    told = subprocess.run([sys.executable, "-c", NOT_READ], capture_output=True, text=True, check=True).stdout
    if told.startswith("refused"):
        pytest.skip(f"memory cannot be locked here: {told}")
    before, after = map(int, told.split())
    assert before > 0
    assert after == 0
