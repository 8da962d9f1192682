"""`reflexd replay` on a recording that the real daemon made, and its parts."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import tomllib
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from runtime.cli import replay as command
from runtime.cli.processes import DaemonProcess, Emulator
from runtime.cli.reflexd import main
from runtime.config.load import load
from runtime.policy.worker.frames import FrameReader
from runtime.recording.reader import Recording, parse
from runtime.recording.trace import TraceLayout
from runtime.replay.cameras import ShownCamera
from runtime.replay.errors import ReplayError
from runtime.replay.runs import Robot, limit_ticks, moments, runs
from runtime.replay.setting import refuse_hardware, settle, toml
from tests import robots
from tests.export import made

MS = 1_000_000
POLICY = """
[policy]
backend = "circle:Circle"
rate = 50.0
horizon = 50
execute = 10
latency = 0.05
[policy.command.vx]
min = -1.0
max = 1.0
[[policy.observation]]
source = "joint.position"
[[policy.observation]]
source = "last_action"
[[policy.action]]
target = "joint.position"
"""


@pytest.fixture
def folder():
    """With a config of four joints; paths of sockets must be short."""
    found = Path(tempfile.mkdtemp(prefix="rfx-"))
    robots.write(found, [("dynamixel", 2), ("damiao", 2)], 200.0, POLICY)
    shutil.copy(Path(__file__).parent / "circle.py", found)
    yield found
    shutil.rmtree(found, ignore_errors=True)


def replay(capsys, *words):
    code = main(["replay", "--json", *map(str, words)])
    told = capsys.readouterr()
    return code, json.loads(told.out) if told.out else {}, told.err


@pytest.mark.system
def test_a_run_is_shown_to_its_policy_and_played_to_the_robot(folder, capsys, monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", str(folder / "state"))
    config = load(folder / "robot.toml", run_dir=folder / "r")
    with Emulator(config), DaemonProcess(config) as daemon:
        daemon.wait_policy()
        daemon.request("arm")
        daemon.request("move", joints={"j0": 0.4})
        time.sleep(0.5)
        daemon.request("start")
        time.sleep(2.5)
        daemon.request("disarm")
    spool = folder / "state/recordings"

    code, told, error = replay(capsys, "--policy", "--beside", folder, "--action-tolerance", "0.05", spool)
    assert (code, error, told["runs"], told["remarks"]) == (0, "", 1, [])
    assert told["answers"] == told["chunks"] > 10
    assert told["plan_rebuilt_max_rad"] < 1e-9, "the recorded chunks make the recorded plan"
    # What it was shown is what it was shown then, within a tick, the last action too.
    assert told["difference_rad"]["rms"] < 0.01
    assert told["limit_ticks"]["any"] == pytest.approx(told["recorded_limit_ticks"].get("any", 0), abs=20)
    assert 0 < told["latency_ms"]["p50"] < told["recorded_latency_ms"]["p50"], "without the latency of the config"

    other = folder / "other.toml"
    other.write_text((folder / "robot.toml").read_text().replace("circle:Circle", "mirror:Mirror"))
    (folder / "mirror.py").write_text(
        "from circle import Circle\n\n\nclass Mirror(Circle):\n"
        "    def infer(self, observation):\n        return -super().infer(observation)\n"
    )
    code, told, _ = replay(capsys, "--policy", "--config", other, "--action-tolerance", "0.05", spool)
    assert code == 1
    assert "rad of difference to the recorded actions, allowed are 0.05" in told["exceeded"][0]
    assert told["difference_rad"]["joints"]["j0"]["max"] == pytest.approx(0.8, abs=0.05)

    code, told, error = replay(capsys, "--robot", "--beside", folder, "--tracking-tolerance", "1.0", spool)
    assert (code, error, told["stops"]) == (0, "", [])
    assert told["played"] == told["chunks"]
    assert told["seconds"] > 1.5
    assert told["pose_left_rad"] < 0.01
    # The commands are those of the recording, but for when the chunks came.
    assert told["difference_rad"]["rms"] < 0.05
    assert told["tracking_rad"]["rms"] == pytest.approx(told["recorded_tracking_rad"]["rms"], abs=0.1)


def config_of(folder):
    return load(folder / "robot.toml", run_dir=folder / "r")


def some_ticks(count=40, sensors=None):
    layout = TraceLayout([f"j{number}" for number in range(4)], sensors or {}, ["vx"])
    ticks = np.zeros(count, parse(layout.definition)[0])
    ticks["tick"], ticks["mono_ns"] = np.arange(count), np.arange(count) * 5 * MS
    ticks["joints"]["position"] = np.arange(count)[:, None]
    ticks["joints"]["age_s"] = 3e-3
    ticks["command_vx"] = np.arange(count) / 100
    return ticks


def test_a_reading_counts_when_it_was_asked_for_before(folder):
    ticks = some_ticks()
    ticks["joints"]["age_s"][11, 1] = 1e-3
    robot = Robot(config_of(folder), ticks)
    robot.at(
        10 * 5 * MS + 2_500_000
    )  # half a period after tick 10; tick 11 has readings of 2 ms after it, and of 4
    assert robot.state.position.tolist() == [11.0, 10.0, 11.0, 11.0]
    assert robot.state.stamp_ns.tolist() == [52 * MS, 47 * MS, 52 * MS, 52 * MS]
    assert robot.commands.tolist() == [0.1]


def test_sensors_by_their_own_age_where_it_was_recorded(folder):
    path = folder / "robot.toml"
    sensor = '\n[[sensor]]\nname = "imu"\ntype = "datagram"\npath = "{run}/imu.sock"\nfields = { gyro = 2 }\n'
    path.write_text(path.read_text() + sensor)
    old = some_ticks(sensors={"imu": {"gyro": 2}})
    names = [name for name in old.dtype.names if name != "imu_age_s"]
    new = np.zeros(len(old), np.dtype([*old.dtype[names].descr, ("imu_age_s", "<f8")]))
    for name in names:
        new[name] = old[name]
    new["imu_gyro"] = np.arange(40)[:, None]
    new["imu_age_s"] = 3e-3
    robot = Robot(config_of(folder), new)
    robot.at(52_500_000)
    assert (robot.sensors[0].values.tolist(), robot.sensors[0].stamp_ns) == ([11.0, 11.0], 52 * MS)
    robot = Robot(config_of(folder), new[names])
    robot.at(52_500_000)
    assert (robot.sensors[0].values.tolist(), robot.sensors[0].stamp_ns) == ([10.0, 10.0], 50 * MS)
    with pytest.raises(ReplayError, match="found imu_gyro, which the recording does not have"):
        Robot(config_of(folder), some_ticks())


def test_runs_are_what_is_auto_and_has_chunks(tmp_path):
    ticks = some_ticks(60)
    ticks["mode"][[*range(5), *range(10, 30), *range(40, 60)]] = 3
    ticks["joints"]["command"] = np.arange(60)[:, None]
    plans = [made.chunk(0, at * MS, [[1.0]]) for at in (20, 60, 110)]
    path = made.segment(tmp_path / "a.mcap", made.ticks(0, 3), chunks=plans)
    found = runs(ticks, Recording(path).chunks())
    assert [(run.begins, len(run.ticks), len(run.chunks)) for run in found] == [(False, 5, 1), (True, 20, 2)]
    assert found[1].command.tolist() == [9.0] * 4, "that of the tick before"
    assert [asked_ns for _, asked_ns in moments(found[1])] == [0, 0]


def test_limits_are_counted_by_tick():
    limits = np.array([[0, 0], [1, 4], [0, 4], [0, 0]])
    assert limit_ticks(limits) == {"any": 2, "position": 1, "acceleration": 2}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('port = "{run}/b0"', 'port = "/dev/ttyUSB0"', "bus b0 at /dev/ttyUSB0"),
        (
            'interface = "unix"\nchannel = "{run}/b1"',
            'interface = "socketcan"\nchannel = "can0"',
            "bus b1 at can0",
        ),
        ('[emulated]\nmodel = "robot.xml"', "", r"no section \[emulated\]"),
    ],
)
def test_a_real_robot_is_never_moved(folder, old, new, told):
    text = (folder / "robot.toml").read_text()
    assert old in text
    config = settle(tomllib.loads(text.replace(old, new)), folder, folder / "s")
    with pytest.raises(ReplayError, match=rf"{told}.*a replay never moves a real one"):
        refuse_hardware(config)


def test_a_config_survives_being_written(folder):
    table = tomllib.loads((folder / "robot.toml").read_text())
    table["robot"]["description"] = 'quote " backslash \\ umlaut ü'
    again = tomllib.loads("\n".join(f'"{key}" = {toml(value)}' for key, value in table.items()))
    assert again == table
    refuse_hardware(settle(table, folder, folder / "s"))


def test_what_cannot_be_replayed_is_told(folder, tmp_path, capsys):
    none = made.segment(tmp_path / "none.mcap", made.ticks(0, 30))
    code, _, told = replay(capsys, "--policy", none)
    assert (code, "none.mcap: found no run of a policy with action chunks" in told) == (1, True)
    plan = [made.chunk(50 * MS, 60 * MS, np.zeros((50, 4)))]
    text = (folder / "robot.toml").read_text()
    one = made.segment(tmp_path / "one.mcap", made.ticks(0, 30), chunks=plan, config=text)
    code, _, told = replay(capsys, "--policy", "--beside", folder, one)
    assert (code, "4 joints, which the recording does not have" in told) == (1, True)
    code, _, told = replay(capsys, "--robot", "--beside", folder, one)
    assert (code, "the run began before the recording" in told) == (1, True)
    code, _, told = replay(capsys, "--policy", "--beside", folder, "--run", "2", one)
    assert (code, "--run 2: found 1 runs" in told) == (1, True)


def test_a_file_that_is_not_beside_is_named_with_the_option(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (folder / "robot.toml").read_text().replace("[policy]", '[policy]\nmodel = "nets/a.onnx"')
    text = text.replace('"robot.xml"', f'"{folder}/robot.xml"')  # an absolute one is the config's own business
    text += '\n[cameras.front]\ntype = "video"\nwidth = 32\nheight = 16\nrate = 50\nfile = "films/b.mkv"\n'
    plan = [made.chunk(50 * MS, 60 * MS, np.zeros((50, 4)))]
    one = made.segment(tmp_path / "one.mcap", made.ticks(0, 30), chunks=plan, config=text)
    code, _, told = replay(capsys, "--policy", one)
    assert code == 1
    assert told.removeprefix("reflexd replay: ").splitlines() == [
        f'policy.model: found no file at {tmp_path}/nets/a.onnx, expected "nets/a.onnx" of the config',
        f'cameras.front.file: found no file at {tmp_path}/films/b.mkv, expected "films/b.mkv" of the config',
        f"relative paths of this config begin in {tmp_path}: name the folder where it lay with --beside DIR",
    ]
    for name in ("nets/a.onnx", "films/b.mkv"):
        (folder / name).parent.mkdir()
        (folder / name).touch()
    assert "--beside" not in replay(capsys, "--policy", "--beside", folder, one)[2]


def test_a_policy_that_has_no_answer_is_not_waited_for(folder, tmp_path, capsys):
    (folder / "circle.py").write_text(
        "from runtime.policy.worker.errors import Unavailable\n\n\nclass Circle:\n    asked = 0\n"
        "    def __init__(self, model, options):\n"
        "        self.shape = (options['horizon'], options['action_size'])\n"
        "    def infer(self, observation):\n        self.asked += 1\n        if self.asked > 2:\n"
        "            raise Unavailable('away')\n        import numpy\n        return numpy.zeros(self.shape)\n"
    )
    ticks = some_ticks(80)
    ticks["mode"][5:], ticks["gate"] = 3, 1
    plans = [made.chunk(at * MS, (at + 50) * MS, np.zeros((50, 4))) for at in (30, 130, 230, 330)]
    layout = TraceLayout([f"j{number}" for number in range(4)], {}, ["vx"])
    text = (folder / "robot.toml").read_text()
    path = made.segment(tmp_path / "a.mcap", ticks, chunks=plans, config=text, definition=layout.definition)
    code, told, _ = replay(capsys, "--policy", "--beside", folder, path)
    assert (code, told["chunks"], told["answers"], told["plan_rebuilt_max_rad"]) == (1, 4, 1, 0.0)
    assert told["exceeded"] == ["3 of 4 chunks are missing"]
    assert "the policy has no answer: away" in told["remarks"][0]
    assert replay(capsys, "--policy", "--missing", "--beside", folder, path)[0] == 0


def test_limits_that_are_exceeded():
    args = {"action_tolerance": 0.1, "tracking_tolerance": None, "latency_max": 0.01, "limits_max": 5}
    figures = {"chunks": 3, "answers": 2, "difference_rad": {"max": 0.2}, "latency_ms": {"p99": 20.0}}
    told = command.exceeded(Namespace(missing=False, **args), {**figures, "limit_ticks": {"any": 6}})
    assert told == [
        "1 of 3 chunks are missing",
        "found 0.2 rad of difference to the recorded actions, allowed are 0.1",
        "found 0.02 s of latency (p99), allowed are 0.01",
        "found 6 ticks in which a limit acts, allowed are 5",
    ]
    played = {**figures, "played": 2, "answers": 3, "stops": ["too fast"], "tracking_rad": {"max": 9.0}}
    args |= {"action_tolerance": 1.0, "latency_max": None}
    assert command.exceeded(Namespace(missing=True, **args), {**played, "limit_ticks": {"any": 0}}) == ["too fast"]


def test_a_camera_shows_the_newest_frame_of_the_moment_in_its_own_size(tmp_path):
    times = [100 * MS + 33 * MS * number for number in range(30)]
    early = made.segment(tmp_path / "a.mcap", made.ticks(0, 3), cameras={"front": times[:10]})
    late = made.segment(tmp_path / "b.mcap", made.ticks(3, 3), cameras={"front": times[10:]})
    options = Namespace(width=32, height=24)
    camera = ShownCamera("front", options, [Recording(early), Recording(late)], clock=lambda: 9_000 * MS)
    reader = FrameReader(camera.descriptor)
    camera.show(99 * MS)
    assert (reader.latest(), camera.stamp_ns) == (None, 0)
    for moment, expected in ((100, 0), (132, 0), (133, 1), (400, 9), (470, 11), (9_999, 29)):
        camera.show(moment * MS)
        frame = reader.latest()
        assert camera.stamp_ns == times[expected]
        assert frame.mono_ns == 9_000 * MS - (moment * MS - times[expected]), "as old as it was then"
        assert frame.pixels.shape == (24, 32, 3)
        assert frame.pixels.mean() == pytest.approx(made.grey(expected if expected < 10 else expected - 10), abs=3)
    camera.close()
    camera = ShownCamera("front", options, [Recording(early), Recording(late)], clock=lambda: 9_000 * MS)
    camera.show(400 * MS, times[4])
    camera.show(500 * MS, times[5] + 1)
    assert (camera.stamp_ns, camera.missing) == (times[5] + 1, 1), "that one is not in the recording"
    assert FrameReader(camera.descriptor).latest().pixels.mean() == pytest.approx(made.grey(5), abs=3)
    camera.close()
    with pytest.raises(ReplayError, match="sees through camera wrist, of which the recording has no frame"):
        ShownCamera("wrist", options, [Recording(early)])
