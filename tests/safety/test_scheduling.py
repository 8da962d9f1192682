from __future__ import annotations

import os
from typing import Any

import pytest

from safety.scheduling import Scheduling, run_as_fifo


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the kernel was asked for; an exception at the front is its answer."""
    calls: list[Any] = []

    def set_scheduler(pid: int, policy: int, param: os.sched_param) -> None:
        calls.append((pid, policy, param.sched_priority))
        if isinstance(calls[0], OSError):
            raise calls[0]

    monkeypatch.setattr(os, "sched_setscheduler", set_scheduler)
    return calls


def test_the_calling_thread_and_nothing_that_it_starts_runs_in_real_time(asked: list[Any]) -> None:
    assert run_as_fifo(40) == Scheduling(True, "SCHED_FIFO 40")
    assert run_as_fifo(1) == Scheduling(True, "SCHED_FIFO 1")
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    assert asked == [(0, policy, 40), (0, policy, 1)]


def test_priority_0_asks_for_nothing(asked: list[Any]) -> None:
    assert run_as_fifo(0) == Scheduling(False, "not asked for: priority is 0")
    assert not asked


@pytest.mark.parametrize(
    ("error", "text"),
    [(PermissionError(1, "Operation not permitted"), "Operation not permitted"), (OSError("no idea"), "no idea")],
)
def test_a_kernel_that_refuses_is_told_with_what_it_needs(asked: list[Any], error: OSError, text: str) -> None:
    asked.append(error)
    needs = "(needs root, or LimitRTPRIO in the service)"
    assert run_as_fifo(40) == Scheduling(False, f"SCHED_FIFO 40 was refused: {text} {needs}")
