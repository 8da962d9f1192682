"""Another task for a running policy, with the real processes. The policy here shows its task in its actions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader

from runtime.cli.processes import DaemonProcess
from runtime.link.errors import Refused
from runtime.spool.layout import find

pytestmark = pytest.mark.system

MakeRig = Callable[..., Any]
OBEDIENT = 'policy.backend="obedient:Obedient"'
SEEN = '[{source="task"},{source="joint.position"}]'
TASKS = 'policy.task={left={id=-0.5,prompt="-0.5"},right={id=0.5,prompt="0.5"}}'
BOTH = (OBEDIENT, TASKS, f"policy.observation={SEEN}", "policy.latency=0.1")
NEAR = 0.1
"""rad; so far the motors are from where they were sent."""


def run(rig: Any) -> None:
    rig.daemon.request("arm")
    rig.daemon.request("start")


def wait_at(rig: Any, angle: float) -> None:
    rig.wait(lambda: np.allclose(rig.positions(), angle, atol=NEAR), what=f"all joints at {angle} rad")


def recorded_chunks(rig: Any) -> list[dict[str, Any]]:
    """Ends the daemon."""
    path = rig.status()["recording"]["path"]
    rig.daemon.close()
    with find(Path(path)).open("rb") as file:
        return [json.loads(message.data) for _, _, message in make_reader(file).iter_messages(topics=["/chunks"])]


def test_a_task_changes_without_a_stop_and_every_chunk_says_what_it_was_for(make_rig: MakeRig) -> None:
    rig = make_rig(*BOTH, 'policy.first_task="right"')
    assert rig.status()["task"] == {"name": "right", "id": 0.5, "prompt": "0.5"}
    run(rig)
    wait_at(rig, 0.5)
    told = rig.daemon.request("task", name="left")
    assert told["task"] == rig.status()["task"] == {"name": "left", "id": -0.5, "prompt": "-0.5"}
    assert [task["name"] for task in told["tasks"]] == ["left", "right"]
    wait_at(rig, -0.5)
    for _ in range(20):
        for name in ("right", "left", "left", "right"):
            chunks = rig.status()["policy"]["chunks"]
            rig.daemon.request("task", name=name)
        rig.wait(lambda chunks=chunks: rig.status()["policy"]["chunks"] > chunks, what="a chunk")
    wait_at(rig, 0.5)
    assert rig.status()["mode"] == "AUTO"
    events = rig.told()
    changes = [event["fields"]["task"] for event in events if event["name"] == "policy.task"]
    assert changes[:4] == ["left", "right", "left", "right"], "the second left was no change"
    assert "policy.error" not in {event["name"] for event in events}, "the observation and the prompt agree"
    chunks = recorded_chunks(rig)
    assert {chunk["task"] for chunk in chunks} == {"left", "right"}
    assert chunks[0]["task"] == "right"
    for chunk in chunks:
        angle = {"left": -0.5, "right": 0.5}[chunk["task"]]
        assert (chunk["task_id"], chunk["prompt"]) == (angle, str(angle))
        assert np.allclose(chunk["actions"], angle)


def test_the_fallback_has_the_task_as_well(make_rig: MakeRig) -> None:
    fallback = (
        'policy.fallback={backend="obedient:Obedient",rate=50.0,horizon=50,execute=10,options={joints=4},'
        f'observation={SEEN},action=[{{target="joint.position"}}]}}'
    )
    rig = make_rig(
        *BOTH[:3], fallback, "policy.latency=0.7"
    )  # a plan lasts for one second, from its observation on
    rig.wait(lambda: rig.status()["policy"]["fallback"] == "ready", what="its worker is ready")
    run(rig)
    rig.wait(lambda: rig.status()["policy"]["fallback"] == "moves the robot", what="the plan runs out")
    rig.daemon.request("task", name="right")
    seen = rig.events().count("policy.fallback")
    rig.wait(lambda: rig.events().count("policy.fallback") > seen + 1, what="it takes over again, twice")
    wait_at(rig, 0.5)
    assert "policy.error" not in rig.events()


def test_words_of_the_operators_own(make_rig: MakeRig) -> None:
    settings = (OBEDIENT, 'policy.task={rest={prompt="0.0"}}', "policy.any_prompt=true")
    rig = make_rig(*settings)
    run(rig)
    told = rig.daemon.request("task", prompt="0.7")
    assert told["task"] == rig.status()["task"] == {"name": None, "id": None, "prompt": "0.7"}
    wait_at(rig, 0.7)
    rig.daemon.request("task", name="rest")
    wait_at(rig, 0.0)
    rig.daemon.request("task", prompt="0.2")
    rig.daemon.close()
    rig.daemon = DaemonProcess(rig.config, settings)
    try:
        assert rig.status()["task"]["name"] == "rest", "the first one again, after a restart"
    finally:
        rig.daemon.close()


def test_what_is_no_task_changes_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(*BOTH)

    def refused(**args: Any) -> str:
        with pytest.raises(Refused) as refusal:
            rig.daemon.request("task", **args)
        return " | ".join([str(refusal.value), *refusal.value.reasons])

    assert "unknown task 'up'; known: left, right" in refused(name="up")
    assert "needs policy.any_prompt = true" in refused(prompt="up")
    for args in ({}, {"name": "left", "prompt": "up"}, {"name": 1}, {"prompt": None}):
        assert "expected either name or prompt" in refused(**args)
    assert rig.status()["task"]["name"] == "left"
    assert "policy.task" not in rig.events()


def test_a_policy_that_would_not_learn_of_it(make_rig: MakeRig) -> None:
    rig = make_rig('policy.task={left={prompt="left"},right={prompt="right"}}')
    with pytest.raises(Refused) as refused:
        rig.daemon.request("task", name="right")
    assert "its backend takes no prompt" in refused.value.reasons[0]
    assert rig.status()["task"]["name"] == "left"
