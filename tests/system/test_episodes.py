"""Episodes of a running robot, with the real processes: what an operator says, and what is on the disk then."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from runtime.control.modes import Mode
from runtime.link.errors import Refused

pytestmark = pytest.mark.system

MakeRig = Callable[..., Any]
OBEDIENT = 'policy.backend="obedient:Obedient"'
TASKS = 'policy.task={near={prompt="0.5"},far={prompt="9.0"}}'
# A shared machine can be away for longer than a good recording allows.
PATIENT = ("recording.quality={tick_gap_max=10.0,reading_age_max=10.0}", "safety.stall=2.0")
SETTINGS = (OBEDIENT, TASKS, "policy.observation=[{source='joint.position'}]", *PATIENT)


def say(rig: Any, action: str, **args: Any) -> Any:
    return rig.daemon.request("episode", action=action, **args)


def verdict(rig: Any, episode: str) -> dict[str, Any]:
    """Waits for the recorder's word."""

    def found() -> Any:
        told = [e["fields"] for e in rig.told() if e["name"] == "episode.verdict"]
        return next((fields for fields in told if fields["episode"] == episode), None)

    result: dict[str, Any] = rig.wait(found, what="a verdict")
    return result


class Recorded:
    """One segment."""

    def __init__(self, path: Path) -> None:
        self.folder = path.parent.name
        with path.open("rb") as file:
            reader = make_reader(file, decoder_factories=[DecoderFactory()])
            records = {record.name: record.metadata for record in reader.iter_metadata()}
            self.about, self.robot = records.get("episode", {}), records["reflexd"]
            self.ticks = [m[3] for m in reader.iter_decoded_messages(topics=["/ticks"])]
            self.said = [json.loads(m.data) for _, _, m in reader.iter_messages(topics=["/episodes"])]


def recordings(rig: Any) -> dict[str, Recorded]:
    """The segments that are whole, by the episode that they are of; the last one of those that are of none."""
    root = Path(rig.config.recording.directory)
    found = [Recorded(path) for path in sorted(root.glob("ready/*/*.mcap"))]
    return {segment.about.get("id", ""): segment for segment in found}


def test_each_episode_is_a_segment_that_says_what_became_of_it(make_rig: MakeRig) -> None:
    rig = make_rig(*SETTINGS)
    who = getpass.getuser()
    with pytest.raises(Refused, match="arm the robot first"):
        say(rig, "start")
    rig.daemon.request("arm")
    with pytest.raises(Refused, match="the task was not changed"):
        say(rig, "start", task="nowhere")
    assert rig.status()["episode"] is None

    good = say(rig, "start", task="near")
    assert rig.status()["episode"] == good
    with pytest.raises(Refused, match="end it first"):
        say(rig, "start")
    rig.daemon.request("start")
    rig.wait(lambda: min(rig.positions()) > 0.4, what="the policy moves it")
    say(rig, "mark", note="it is there")
    say(rig, "success")
    assert verdict(rig, good["id"])["reasons"] == ""

    helped = say(rig, "start", task="near")["id"]
    rig.daemon.request("stop")
    rig.daemon.request("move", joints={"j0": 0.0})
    rig.wait(lambda: rig.positions()[0] < 0.1, what="it was moved by hand")
    rig.daemon.request("start")
    rig.wait(lambda: rig.positions()[0] > 0.4, what="the policy goes on")
    assert say(rig, "success")["interventions"] == 1
    assert verdict(rig, helped)["kind"] == "intervention"

    nothing = say(rig, "start")["id"]
    say(rig, "discard")

    wild = say(rig, "start", task="far")["id"]
    rig.wait(lambda: rig.status()["limits"]["position"] > 200, what="goals out of range")
    say(rig, "success")
    assert verdict(rig, wild)["verdict"] == "bad"

    left = say(rig, "start")["id"]
    rig.daemon.request("disarm")
    assert rig.status()["episode"] is None
    assert verdict(rig, left)["outcome"] == ""
    rig.daemon.close()

    found = recordings(rig)
    assert {name: found[name].folder for name in (good["id"], helped, wild, left)} == {
        good["id"]: "bulk",
        helped: "intervention",
        wild: "rejected",
        left: "failure",
    }
    assert nothing not in found
    first = found[good["id"]]
    assert (first.about["outcome"], first.about["verdict"], first.about["task"]) == ("success", "good", "near")
    assert [(m["action"], m["by"], m["note"]) for m in first.said] == [
        ("start", who, ""),
        ("mark", who, "it is there"),
        ("success", who, ""),
        ("verdict", "reflexd", ""),
    ]
    assert {tick.episode for tick in first.ticks} == {1}, "exactly the ticks of the episode"
    times = [int(first.about[key]) for key in ("started_mono_ns", "ended_mono_ns")]
    assert times[0] < first.ticks[0].mono_ns < first.ticks[-1].mono_ns < times[1]
    assert len(first.robot["config_sha256"]) == len(first.robot["calibration"]) == 64
    assert {"reflexd", "python", "kernel", "config", "robot"} <= first.robot.keys()

    second = found[helped]
    [(start_ns, end_ns, by)] = json.loads(second.about["interventions"])
    assert by == who
    flagged = [tick.mono_ns for tick in second.ticks if tick.intervention]
    assert (start_ns, True) == (flagged[0], end_ns > flagged[-1])
    assert {tick.mode for tick in second.ticks if tick.intervention} == {Mode.MANUAL}

    third = found[wild]
    assert any("joint j0: the goal was out of range" in reason for reason in json.loads(third.about["reasons"]))
    assert third.said[-1]["verdict"] == "bad"
    ticks = sorted(tick.tick for segment in found.values() for tick in segment.ticks)
    assert len(ticks) == len(set(ticks)), "no tick is in two segments"


def test_an_episode_of_a_killed_daemon_is_cut_off_and_kept(make_rig: MakeRig) -> None:
    rig = make_rig(*SETTINGS, 'recording.mode="episodes"')
    rig.daemon.request("arm")
    name = say(rig, "start")["id"]
    tick = rig.status()["tick"]
    rig.wait(lambda: rig.status()["tick"] > tick + 50, what="some ticks")
    root = Path(rig.config.recording.directory)
    rig.daemon.kill()
    rig.wait(lambda: list(root.glob("ready/failure/*.mcap")), what="the recorder has ended it")
    rig.wait(lambda: not list(root.glob("open/*.mcap")), what="nothing is left")
    found = recordings(rig)[name]
    assert (found.folder, found.about["outcome"], found.about["verdict"]) == ("failure", "", "")
    assert len(found.ticks) > 50
    assert int(found.about["ended_mono_ns"]) == found.ticks[-1].mono_ns


def test_a_stop_leaves_the_episode_open_and_is_kept_in_every_mode(make_rig: MakeRig) -> None:
    rig = make_rig(*SETTINGS, 'recording.mode="episodes"')
    rig.daemon.request("arm")
    name = say(rig, "start")["id"]
    rig.emulator.ask("press", pressed=True)
    rig.wait(lambda: rig.status()["mode"] == "ESTOP", what="mode ESTOP")
    assert rig.status()["episode"]["notes"] == 1
    say(rig, "failure")
    assert verdict(rig, name)["kind"] == "safety"
    rig.daemon.close()
    found = recordings(rig)
    assert found[name].about["outcome"] == "failure"
    assert json.loads(found[name].about["notes"])[0][1:] == ["the robot was stopped: ESTOP", "reflexd"]
    assert found[""].folder == "safety", "what came before and after is kept with it"
