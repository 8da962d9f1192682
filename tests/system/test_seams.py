"""Seams of a running policy, with the real processes: what is left of a step, and who is handed the plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader

from runtime.cli.processes import DaemonProcess
from runtime.link.errors import Refused
from runtime.spool.layout import find

pytestmark = pytest.mark.system

MakeRig = Callable[..., Any]
ALONE, CONTINUING = 'policy.backend="erratic:Alone"', 'policy.backend="erratic:Continuing"'
PREFIX = 'policy.seam="prefix"'


def run(rig: Any, chunks: int = 8) -> dict[str, Any]:
    """The policy's part of the status, after some chunks."""
    rig.daemon.request("arm")
    rig.daemon.request("start")
    rig.wait(lambda: rig.status()["policy"]["chunks"] >= chunks, what=f"{chunks} chunks")
    found: dict[str, Any] = rig.status()
    assert found["starved_ticks"] == 0
    return found


def test_a_blend_leaves_no_step_and_the_recording_tells(make_rig: MakeRig) -> None:
    rig = make_rig(ALONE, "policy.latency=0.1")
    found = run(rig)
    assert found["policy"]["seam"]["strategy"] == "blend"
    assert found["policy"]["seam"]["before_max_rad"] > 0.1
    assert found["seam_step_max_rad"] == 0.0
    path = found["recording"]["path"]
    rig.daemon.close()
    with find(Path(path)).open("rb") as file:
        chunks = [json.loads(each.data) for _, _, each in make_reader(file).iter_messages(topics=["/chunks"])]
    assert {chunk["by"] for chunk in chunks} == {"policy"}
    assert max(chunk["seam_before_rad"] for chunk in chunks) > 0.1
    assert max(chunk["seam_after_rad"] for chunk in chunks) < 1e-9
    assert {chunk["seam_fade_s"] for chunk in chunks[1:]} == {0.2}


def test_a_replacement_steps(make_rig: MakeRig) -> None:
    rig = make_rig(ALONE, "policy.latency=0.1", 'policy.seam="replace"')
    found = run(rig)
    assert found["seam_step_max_rad"] == found["policy"]["seam"]["before_max_rad"] > 0.1


def test_a_policy_that_is_handed_the_plan_agrees_with_it(make_rig: MakeRig) -> None:
    found = run(make_rig(CONTINUING, PREFIX, "policy.latency=0.1"))
    assert found["policy"]["failures"] == {}
    assert found["policy"]["seam"]["strategy"] == "prefix"
    assert found["policy"]["seam"]["before_max_rad"] < 0.01


def test_a_policy_that_cannot_continue_a_plan_is_refused_before_anything_moves(make_rig: MakeRig) -> None:
    rig = make_rig(ALONE, PREFIX, policy=False)
    rig.wait(lambda: "policy.failed" in rig.events(), what="the event")
    assert rig.status()["policy"]["state"] == "failed"
    assert isinstance(rig.daemon, DaemonProcess)
    with pytest.raises(Refused) as refusal:
        rig.daemon.request("arm")
    assert any("cannot continue a plan" in reason for reason in refusal.value.reasons)
