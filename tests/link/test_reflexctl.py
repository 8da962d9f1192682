"""`reflexctl` as a person or a script runs it: a process of its own against a daemon on a real socket."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from runtime.cli import reflexctl
from runtime.cli import reflexctl_output as output
from runtime.cli.find import find
from runtime.link.errors import NoDaemon
from runtime.link.peers import Peer, Role
from runtime.link.server import Handler

COMMANDS = (
    *("status", "watch", "events", "joints", "limits", "histograms", "version"),
    *(
        "preflight",
        "promote",
        "arm",
        "start",
        "stop",
        "disarm",
        "estop",
        "reset",
        "reload",
        "command",
        "task",
        "move",
    ),
    "episode",
    "spool",
)
COMMAND = [sys.executable, "-m", "runtime.cli.reflexctl"]


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **env}
    )


@pytest.fixture
def ctl(daemon: Any) -> Callable[..., subprocess.CompletedProcess[str]]:
    return lambda *words: run("--socket", str(daemon.path), *words)


def test_status_for_people(ctl: Any) -> None:
    done = ctl("status")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        "robot          arm, from configs/arm.toml, reflexd 9.9.9, up 1 min 02 s\n"
        "mode           HOLD\n"
        "stop           none\n"
        "e-stop         released, drive-enable on\n"
        "health         UNHEALTHY: joints have stopped the robot 6 times\n"
        "               AUTO is disabled until a reset\n"
        "               4 failed attempts in a row, 6 stops because of joints in an hour\n"
        "stage          25, 25% of speed and torque, run of 2 min 10 s of 10 min 00 s, begun anew: "
        "a joint is lost\n"
        "rate           499.999 of 500 Hz, tick 1234, 2 deadlines missed\n"
        "lateness       p50 36, p99 95, p99.9 130, max 300 us\n"
        "cost           p50 54, p99 119, p99.9 174, max 220 us\n"
        "policy         ready, latency 201.5 ms, chunks 12, failures 0\n"
        "plan           0.8 s ahead, 0 starved ticks, largest step at a seam 0.01 rad\n"
        "limits hit     position 0, velocity 3, acceleration 1\n"
        "commands       vx 0.5, vy -\n"
        "task           name pick, id 3\n"
        "buses          name    sent  received  lost  late  corrupt  foreign  unsent\n"
        "               left   10000      9990     6     1        2        0       1\n"
        "               right  10000      9990     6     1        2        0       1\n"
        "sensors        imu 2.0 ms, camera never\n"
        "episode        arm-20261126T101500Z-3f9a, task pick, 1 interventions, 0 notes\n"
        "recording      /data/0001.mcap, 12.3 MB, 0 dropped, FAILED: disk full\n"
        "spool          3 segments wait, 1.5 MB; 0 are sent and still here, 0.0 MB; 1 LOST, 0.7 MB\n"
        "               the disk is full\n"
        "events         daemon.ready 1\n"
        "real time      scheduler: yes, FIFO 50\n"
        "               memory lock: no, RLIMIT_MEMLOCK is 64 KiB\n"
        "memory         98.25 MB\n"
        "something_new  answer 42\n"
        "done           0\n"
    )


def test_status_for_programs(ctl: Any, status_sample: dict[str, Any]) -> None:
    done = ctl("status", "--json")
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    told = json.loads(done.stdout)
    assert told["buses"] == status_sample["buses"]
    assert told["commands"] == {"vx": 0.5, "vy": None}


def test_joints(ctl: Any) -> None:
    lines = ctl("joints").stdout.splitlines()
    heads = "name bus id position velocity torque temperature age_s goal missed fault limit"
    assert " ".join(lines[0].split()) == heads
    assert " ".join(lines[1].split()) == "elbow left 3 0.25 -0.001 - 41 0.002 0.26 0 - velocity 3"
    assert lines[2].startswith("wrist_roll  left  12  ")
    assert [joint["name"] for joint in json.loads(ctl("--json", "joints").stdout)] == ["elbow", "wrist_roll"]


def test_spool(ctl: Any) -> None:
    lines = [" ".join(line.split()) for line in ctl("spool").stdout.splitlines()]
    assert lines == [
        "being written 0 B",
        "waiting bulk: 3 segments, 1.5 MB",
        "LOST bulk: 1 segments, 700 kB",
        "lost because of size_max 1",
        "upload none",
        "TROUBLE the disk is full",
    ]
    assert json.loads(ctl("spool", "--json").stdout)["lost_why"] == {"size_max": 1}


def test_limits(ctl: Any) -> None:
    lines = [" ".join(line.split()) for line in ctl("limits").stdout.splitlines()]
    assert lines == ["name now velocity jerk", "elbow velocity, jerk 3 12", "wrist none 0 1"]
    assert json.loads(ctl("limits", "--json").stdout)[0]["now"] == ["velocity", "jerk"]


@pytest.mark.parametrize(
    ("words", "done"),
    [
        (["arm"], ("arm", {})),
        (["disarm"], ("disarm", {})),
        (["estop"], ("estop", {})),
        (["reset"], ("reset", {"healthy": False})),
        (["reset", "--healthy"], ("reset", {"healthy": True})),
        (["command", "vx=0.5", "vy=-1e-1"], ("command", {"values": {"vx": 0.5, "vy": -0.1}})),
        (["move", "elbow=0.3"], ("move", {"joints": {"elbow": 0.3}})),
        (["episode", "start"], ("episode", {"action": "start"})),
        (["episode", "start", "--task", "pick"], ("episode", {"action": "start", "task": "pick"})),
        (["episode", "success"], ("episode", {"action": "success"})),
        (["episode", "mark", "it slipped"], ("episode", {"action": "mark", "note": "it slipped"})),
        (["spool", "keep", "arm-1"], ("spool_keep", {"segment": "arm-1"})),
        (["spool", "upload", "--now"], ("spool_upload", {})),
    ],
)
def test_commands_reach_the_daemon(daemon: Any, ctl: Any, words: list[str], done: Any) -> None:
    result = ctl(*words)
    assert (result.returncode, result.stderr) == (0, "")
    attempt = "arm-20261126T101500Z-3f9a, task pick, 1 interventions, 0 notes\n"
    assert result.stdout in (f"{done[0]}: done\n", "mode  HOLD\n", "segments  3\n", attempt)
    assert daemon.done == [done]


def test_tasks_are_shown_and_changed(daemon: Any, ctl: Any) -> None:
    assert ctl("task").stdout == "now  name   id  prompt\n     pick    3  -\n*    place   5  place it\n"
    assert ctl("task", "pick").returncode == 0
    assert ctl("task", "--prompt", "fold the towel").stdout == (
        "now  name   id  prompt\n     pick    3  -\n     place   5  place it\n*    -       -  fold the towel\n"
    )
    assert json.loads(ctl("task", "--json").stdout)["task"]["name"] == "place"
    assert ctl("task", "pick", "--prompt", "pick").returncode == 2
    asked = [("tasks", {}), ("task", {"name": "pick"}), ("task", {"prompt": "fold the towel"}), ("tasks", {})]
    assert daemon.done == asked
    daemon.server._handlers["tasks"] = Handler(lambda args: {"task": {"name": None}, "tasks": []}, Role.OBSERVER)
    assert ctl("task").stdout == "the policy has no tasks\n"


def test_preflight_shows_every_check_and_ends_with_1_when_one_fails(daemon: Any, ctl: Any) -> None:
    done = ctl("preflight")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout == "mode    ok\njoints  NO: joint elbow: was never read\n        NO: joint wrist: code 5\n"
    as_json = ctl("preflight", "--json")
    assert as_json.returncode == 1
    assert json.loads(as_json.stdout)["ready"] is False
    daemon.server._handlers["preflight"] = Handler(lambda args: {"ready": True, "checks": {}}, Role.OPERATOR)
    assert ctl("preflight").returncode == 0


def test_promote_tells_the_daemon_who_signs_and_under_which_account(daemon: Any, ctl: Any) -> None:
    done = ctl("promote", "--by", "bob")
    assert (done.returncode, done.stdout) == (0, "50, 50% of speed and torque, run of 0.0 s of 10 min 00 s\n")
    assert daemon.done == [("promote", {"by": "bob"}, os.geteuid())]


def test_version_and_histograms(ctl: Any) -> None:
    told = json.loads(ctl("version", "--json").stdout)
    assert told["reflexd"] == "9.9.9"
    assert told["protocol"] == 1
    assert told["reflexctl"]
    assert ctl("histograms").stdout == "cost_us  p50 54\n"
    assert re.fullmatch(r"reflexctl \d.*\n", run("--version").stdout)


def test_watch_for_programs_and_people(ctl: Any) -> None:
    lines = ctl("--json", "watch", "--count", "3", "--interval", "0.02").stdout.splitlines()
    assert [json.loads(line)["mode"] for line in lines] == ["HOLD"] * 3
    text = ctl("watch", "--count", "2", "--interval", "0.02").stdout
    assert text.count("mode           HOLD\n") == 2
    assert "\x1b" not in text


def test_watch_refreshes_in_place_on_a_terminal(daemon: Any) -> None:
    main, side = pty.openpty()
    try:
        words = ["--socket", str(daemon.path), "watch", "--count", "2", "--interval", "0.02"]
        env = {**os.environ, "COLUMNS": "40", "LINES": "6"}
        with subprocess.Popen([*COMMAND, *words], stdout=side, env=env) as process:
            os.close(side)
            shown = b""
            while b"\x1b[J" not in shown or shown.count(b"\x1b[J") < 2:
                shown += os.read(main, 65536)
            assert process.wait(60) == 0
    finally:
        os.close(main)
    first = shown.split(b"\x1b[J")[0].decode().removeprefix("\x1b[2J\x1b[H").split("\r\n")
    assert first[0] == "robot          arm, from configs/arm.tom\x1b[K"
    assert len(first) == 6
    assert b"\x1b[J\x1b[Hrobot" in shown


def test_events_and_following_them(daemon: Any, ctl: Any) -> None:
    for number in range(100):
        daemon.events.emit("test.happened", "it happened", level="warning", number=number)
    lines = ctl("events").stdout.splitlines()
    assert len(lines) == 100
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}"
    assert re.fullmatch(rf"{stamp}  warning  test\.happened  it happened  number=0", lines[0])
    assert [
        json.loads(line)["sequence"] for line in ctl("events", "--since", "98", "--json").stdout.splitlines()
    ] == [
        99,
        100,
    ]
    words = ["--socket", str(daemon.path), "--json", "events", "--follow"]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number in range(1, 101):
            assert json.loads(process.stdout.readline())["sequence"] == number
        daemon.events.emit("test.later", "")
        assert json.loads(process.stdout.readline())["name"] == "test.later"
        process.send_signal(2)
        assert process.wait(60) == 0


def test_a_stop_is_told_with_what_was_seen(daemon: Any, ctl: Any) -> None:
    daemon.events.emit("policy.crashed", "the worker crashed", level="error")
    daemon.events.emit("robot.armed", "armed")
    seen = {"causes": ["estop", "stall"], "gate_open": True, "tick": 12345, "beat_age_ms": 1.5}
    daemon.events.emit("safety.torque_off", "the e-stop is pressed", level="error", **seen)
    armed, stopped, *facts = ctl("events", "--safety").stdout.splitlines()
    assert armed.endswith("  info     robot.armed  armed")
    assert stopped.endswith("  error    safety.torque_off  the e-stop is pressed")
    assert facts == [
        "    causes       estop, stall",
        "    gate_open    yes",
        "    tick         12345",
        "    beat_age_ms  1.5",
    ]
    assert len(ctl("events", "--json").stdout.splitlines()) == 3


def test_a_reader_that_has_seen_enough_ends_it(daemon: Any) -> None:
    words = ["--socket", str(daemon.path), "--json", "watch", "--interval", "0.02"]
    with subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait(60) == -13


# Exit codes


def test_a_refusal_is_1_with_one_reason_per_line(ctl: Any) -> None:
    done = ctl("start")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "reflexctl: the policy cannot be started",
        "sensor imu: no reading yet",
        "mode is HOLD",
    ]
    error = json.loads(ctl("start", "--json").stdout)["error"]
    assert error["code"] == "not_ready"
    assert error["reasons"] == ["sensor imu: no reading yet", "mode is HOLD"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["dance"],
        ["command"],
        ["command", "vx"],
        ["command", "=1"],
        ["promote"],
        ["command", "vx=fast"],
        ["move", "elbow=nan"],
        ["move", "elbow=inf"],
        ["--timeout", "0", "status"],
        ["watch", "--interval", "-1"],
        ["events", "--since", "-1"],
    ],
)
def test_wrong_usage_is_2(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "usage: reflexctl" in done.stderr


def test_no_daemon_is_3(tmp_path: Path) -> None:
    done = run("--socket", str(tmp_path / "none.sock"), "--json", "status")
    assert done.returncode == 3
    assert f"no daemon answers at {tmp_path}/none.sock" in done.stderr
    assert "start the daemon with `reflexd run CONFIG`" in done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "no_daemon"


def test_not_permitted_is_4(daemon: Any, ctl: Any, stranger: Peer) -> None:
    daemon.peer_of = lambda _: stranger
    done = ctl("arm")
    assert done.returncode == 4
    assert "expected root" in done.stderr
    assert ctl("estop").returncode == 0


def test_no_answer_in_time_is_5(ctl: Any) -> None:
    done = ctl("stop", "--timeout", "0.3")
    assert done.returncode == 5
    assert "did not answer within 0.3 s" in done.stderr


def test_a_failed_run_is_told(daemon: Any, ctl: Any) -> None:
    daemon._loop.call_soon_threadsafe(daemon.release.set)
    assert ctl("stop", "--failed").returncode == 0
    assert ctl("stop").returncode == 0
    assert daemon.done == [("stop", {"failed": True}), ("stop", {"failed": False})]


# Where the daemon is


def test_the_socket_is_found(daemon: Any, tmp_path: Path) -> None:
    assert run("version", REFLEXD_SOCKET=str(daemon.path)).returncode == 0
    assert run("version", RUNTIME_DIRECTORY=str(tmp_path)).returncode == 0


def test_the_order_of_places(daemon: Any, tmp_path: Path) -> None:
    services, nobody = tmp_path / "services", tmp_path / "nobody"
    with pytest.raises(NoDaemon, match=str(nobody)):
        find(None, 10.0, {"RUNTIME_DIRECTORY": str(nobody)}, services)
    robot = services / "arm"
    robot.mkdir(parents=True)
    (robot / "reflexd.sock").symlink_to(daemon.path)
    for socket, env, expected in (
        (str(daemon.path), {"REFLEXD_SOCKET": str(nobody)}, daemon.path),
        (None, {"REFLEXD_SOCKET": str(daemon.path), "RUNTIME_DIRECTORY": str(robot)}, daemon.path),
        (None, {"RUNTIME_DIRECTORY": str(daemon.path.parent)}, daemon.path),
        (None, {"RUNTIME_DIRECTORY": str(nobody)}, robot / "reflexd.sock"),
        (None, {"RUNTIME_DIRECTORY": str(robot)}, robot / "reflexd.sock"),
    ):
        (client,), errors = find(socket, 10.0, env, services)
        assert (client.path, errors) == (expected, [])
        client.close()


@pytest.fixture
def two_robots(daemon: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two services (of one daemon), and one whose daemon was killed."""
    for name in ("left", "right", "killed"):
        (tmp_path / "services" / name).mkdir(parents=True)
        target = tmp_path / "nobody" if name == "killed" else daemon.path
        (tmp_path / "services" / name / "reflexd.sock").symlink_to(target)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "nobody"))
    monkeypatch.delenv("REFLEXD_SOCKET", raising=False)
    monkeypatch.setattr(reflexctl, "find", partial(find, services=tmp_path / "services"))


@pytest.mark.usefixtures("two_robots")
def test_of_several_robots_one_must_be_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for command in ("status", "arm", "stop"):
        assert reflexctl.main([command]) == 2
        told = capsys.readouterr().err
        assert "found several robots" in told
        assert "left/reflexd.sock" in told
        assert "right/reflexd.sock" in told
        assert "killed" not in told
    assert reflexctl.main(["--socket", str(tmp_path / "services/left/reflexd.sock"), "arm"]) == 0


@pytest.mark.usefixtures("two_robots")
def test_an_estop_without_a_name_is_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert reflexctl.main(["estop"]) == 0
    assert capsys.readouterr().out == "estop: done\nestop: done\n"


def test_help_tells_commands_and_exit_codes() -> None:
    text = run("--help").stdout
    shown = re.findall(r"^    (\w+) ", text, re.MULTILINE)
    assert set(shown) == set(COMMANDS)
    assert "4  not permitted" in text


def test_it_starts_without_the_heavy_packages() -> None:
    code = "import sys, runtime.cli.reflexctl; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    heavy = {"numpy", "pydantic", "asyncio", "uvloop", "structlog", "importlib.metadata"}
    assert heavy.isdisjoint(loaded.stdout.split())


# Text


def test_a_stop_shows_its_reasons() -> None:
    told = {"mode": "ESTOP", "stop": {"category": 0, "reasons": ["e-stop pressed", "line lost"]}}
    assert output.human("status", told) == ("mode  ESTOP\nstop  category 0\n      e-stop pressed\n      line lost")


def test_a_status_of_another_shape_is_shown_as_it_is() -> None:
    assert output.human("status", {"sensors": {"imu": 3}, "stop": "category 1"}) == (
        "stop     stop category 1\nsensors  sensors (imu 3)"
    )


def test_json_has_no_nan() -> None:
    assert output.as_json({"a": [float("nan"), (float("inf"), 1.5)], "b": Path("x")}) == (
        '{"a": [null, [null, 1.5]], "b": "x"}'
    )
