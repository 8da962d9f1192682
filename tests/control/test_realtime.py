from __future__ import annotations

import gc
import os
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
