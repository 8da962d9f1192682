"""Reload: all of the changes or none, and every key that needs a restart by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runtime.config.config import Config
from runtime.config.load import load
from runtime.control.modes import Mode
from runtime.daemon import Daemon
from runtime.events import Events
from runtime.link.errors import Refused
from runtime.policy.commands import Commands
from runtime.policy.tasks import Task, Tasks
from runtime.reload import Reload, flat, ranges, schedule
from tests import robots

POLICY = """
[policy]
backend = "some:Class"
rate = 50.0
horizon = 50
[[policy.observation]]
source = "command"
[[policy.action]]
target = "joint.position"
[policy.command.vx]
min = -1.0
max = 1.0
[policy.command.vy]
min = -1.0
max = 1.0
[[policy.schedule]]
at = 0.0
set = { vx = 0.5 }
[policy.task.pick]
prompt = "pick"
[policy.task.place]
prompt = "place"
"""


class FakeDaemon:
    """What a reload needs of a daemon."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = self.read()
        self.events = Events()
        self.loop = SimpleNamespace(modes=SimpleNamespace(energised=False, mode=Mode.STANDBY))
        assert self.config.policy
        self.commands = Commands(ranges(self.config.policy), schedule(self.config.policy))
        self.tasks = Tasks(self.config.policy.tasks)
        self.planner = SimpleNamespace(commands=self.commands, tasks=self.tasks)
        self.described: dict[str, str] = {}
        self.recorder = SimpleNamespace(describe=self.described.update)
        self.reload = Reload(cast(Daemon, self), self.read)
        self.after_reading: Callable[[], None] = lambda: None

    def read(self) -> Config:
        found = load(self.path, run_dir=self.path.parent)
        if hasattr(self, "after_reading"):
            self.after_reading()
        return found

    def edit(self, *changes: tuple[str, str]) -> None:
        text = self.path.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.path.write_text(text)

    def told(self) -> tuple[str, str]:
        event = self.events.recent[-1]
        return event.name, event.message


@pytest.fixture
def daemon(tmp_path: Path) -> FakeDaemon:
    return FakeDaemon(robots.write(tmp_path, [("dynamixel", 1), ("damiao", 1)], 200.0, POLICY))


async def test_ranges_and_schedule_are_taken_over(daemon: FakeDaemon) -> None:
    daemon.commands.set({"vx": 0.9, "vy": 0.9})
    daemon.edit(
        ("[policy.command.vx]\nmin = -1.0\nmax = 1.0", "[policy.command.vx]\ndefault = 0.1\nmin = 0.0\nmax = 0.2")
    )
    daemon.edit(("vx = 0.5", "vx = 0.2"))
    assert await daemon.reload() == {
        "changed": [f"policy.command.vx.{key}" for key in ("default", "max", "min")] + ["policy.schedule"]
    }
    # What was given for the old range may lie outside of the new one; vy was not changed.
    assert daemon.commands.as_dict() == {"vx": 0.1, "vy": 0.9}
    with pytest.raises(ValueError, match=r"outside 0 \.\. 0\.2"):
        daemon.commands.set({"vx": 0.3})
    daemon.commands.follow_schedule(1)
    assert daemon.commands.as_dict()["vx"] == 0.1
    daemon.commands.start(1)
    daemon.commands.follow_schedule(1)
    assert daemon.commands.as_dict()["vx"] == 0.2
    event = daemon.events.recent[-1]
    assert event.name == "config.reloaded"
    assert event.fields["policy.command.vx.max"] == "1.0 -> 0.2"
    assert daemon.config.policy is not None
    assert daemon.config.policy.command["vx"].max == 0.2
    assert daemon.described["config"] == daemon.path.read_text(), "recordings say so from now on"


async def test_tasks_are_taken_over_and_the_one_in_force_remains_so(daemon: FakeDaemon) -> None:
    told: list[str] = []
    daemon.tasks.choose("place")
    daemon.tasks.follow(told.append)
    daemon.edit(('prompt = "place"', 'prompt = "place it gently"\nid = 2'), ('prompt = "pick"', 'prompt = "p"'))
    keys = ["policy.task.pick.prompt", "policy.task.place.id", "policy.task.place.prompt"]
    assert await daemon.reload() == {"changed": keys}
    assert daemon.tasks.now == Task("place", 2.0, "place it gently")
    assert daemon.tasks.all[0] == Task("pick", None, "p")
    assert told == ["place", "place it gently"]


async def test_nothing_is_taken_over_when_one_key_needs_a_restart(daemon: FakeDaemon) -> None:
    before = daemon.config
    daemon.edit(
        ("vx = 0.5", "vx = 0.2"), ("stall = 0.3", "stall = 0.2"), ('name = "b1"', 'name = "b1"\nreply_offset = 32')
    )
    with pytest.raises(Refused) as refused:
        await daemon.reload()
    assert refused.value.code == "restart_needed"
    assert refused.value.reasons == ("bus.b1.reply_offset", "safety.stall")
    assert daemon.told() == (
        "config.refused",
        "nothing was changed, these keys need a restart; bus.b1.reply_offset; safety.stall",
    )
    assert daemon.config is before
    daemon.commands.start(1)
    daemon.commands.follow_schedule(1)
    assert daemon.commands.as_dict()["vx"] == 0.5


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("[policy.command.vy]\nmin = -1.0\nmax = 1.0\n", "", "policy.command.vy.min"),
        (
            "[[policy.schedule]]",
            "[policy.command.vz]\nmin = 0\nmax = 1\n[[policy.schedule]]",
            "policy.command.vz.min",
        ),
        ("command.vx]", "command.swap]", "policy.command (order)"),
        ("velocity_max = 5.0", "velocity_max = 6.0", "joint.j0.velocity_max"),
        (
            "[policy.task.place]",
            '[policy.task.wave]\nprompt = "w"\n[policy.task.place]',
            "policy.task.wave.prompt",
        ),
        ("horizon = 50", 'horizon = 50\nfirst_task = "place"', "policy.first_task"),
        ("horizon = 50", "horizon = 50\nany_prompt = true", "policy.any_prompt"),
        ("[robot]", "[socket]\neveryone = true\n[robot]", "socket.everyone"),
        ("[robot]", "[recording]\nenabled = false\n[robot]", "recording.enabled"),
        ('name = "hinges"', 'name = "other"', "robot.name"),
    ],
)
async def test_a_key_that_needs_a_restart(daemon: FakeDaemon, old: str, new: str, key: str) -> None:
    daemon.edit((old, new))
    if "swap" in new:
        daemon.edit(("command.vy]", "command.vx]"), ("command.swap]", "command.vy]"))
    with pytest.raises(Refused) as refused:
        await daemon.reload()
    assert key in refused.value.reasons


async def test_mistakes_are_told_and_nothing_is_changed(daemon: FakeDaemon) -> None:
    before = daemon.config
    daemon.edit(("rate = 200.0", "rate = -1"), ("vx = 0.5", "vx = 5.0"))
    with pytest.raises(Refused) as refused:
        await daemon.reload()
    assert refused.value.code == "bad_config"
    name, message = daemon.told()
    assert name == "config.refused"
    assert "control.rate" in message
    assert "policy.schedule" in message
    assert daemon.config is before


async def test_a_robot_with_torque_is_not_changed(daemon: FakeDaemon) -> None:
    before = daemon.config
    daemon.edit(("vx = 0.5", "vx = 0.2"))

    def arm() -> None:
        daemon.loop.modes.energised, daemon.loop.modes.mode = True, Mode.HOLD

    daemon.after_reading = arm  # while the file is being read
    for _ in range(2):
        with pytest.raises(Refused, match=r"energised \(mode HOLD\)"):
            await daemon.reload()
        assert daemon.config is before


async def test_what_is_not_the_daemons_business(daemon: FakeDaemon) -> None:
    assert await daemon.reload() == {"changed": []}
    daemon.edit(
        ('model = "robot.xml"', 'model = "robot.xml"\nseed = 3'), ("[robot]", '[robot]\ndescription = "x"')
    )
    assert await daemon.reload() == {"changed": ["emulated.seed", "robot.description"]}


def test_every_key_of_a_config_is_compared(daemon: FakeDaemon) -> None:
    found: dict[str, Any] = flat(daemon.config)
    assert found["bus.b0.baud"] == 1_000_000
    assert found["joint.j1.kp"] == 20.0
    assert found["control.rate"] == 200.0
    assert found["joint (order)"] == ["j0", "j1"]
