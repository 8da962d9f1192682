"""The operation `episode` of the control socket: reads its arguments, and says who asks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from runtime.link.errors import Refused
from runtime.link.peers import Peer
from runtime.policy.tasks import Task, Tasks
from runtime.stages.people import Person

if TYPE_CHECKING:
    from runtime.daemon import Daemon

_ENDS = ("success", "failure", "discard")
_TASK_MAX = 200
_names: dict[int, str] = {}
"""Of users who have asked before."""


async def episode(daemon: Daemon, args: dict[str, Any], peer: Peer) -> dict[str, Any] | None:
    """Do what `action` says; returns `episode` of the status as it was then. Raises Refused."""
    action, task, note = args.get("action"), args.get("task"), args.get("note")
    by = await name_of(peer)
    if action == "start":
        if task is not None and not (isinstance(task, str) and 0 < len(task) <= _TASK_MAX and task.isprintable()):
            raise Refused("bad_request", f"task: found {task!r:.80}, expected the name of a task")
        daemon.episodes.check_start()
        return daemon.episodes.start(_choose(daemon, task), by)
    if action in _ENDS:
        return daemon.episodes.end(action, by)
    if action == "mark" and isinstance(note, str):
        return daemon.episodes.mark(note, by)
    expected = f"one of start, {', '.join(_ENDS)} and mark, the last one with a text as note"
    raise Refused("bad_request", f"action: found {action!r:.80}, expected {expected}")


async def name_of(peer: Peer) -> str:
    """The user who asks. The first time it takes a thread: names may come from a directory service."""
    if peer.uid not in _names:
        _names[peer.uid] = (await asyncio.to_thread(Person.of, peer.uid)).name
    return _names[peer.uid]


def _choose(daemon: Daemon, name: str | None) -> Task:
    """The task in force, which is changed to `name` where the policy has tasks. Raises Refused."""
    tasks = daemon.planner.tasks if daemon.planner is not None else Tasks()
    if name is None:
        return tasks.now
    if not tasks.all:
        return Task(name)  # the policy can do one thing, and the operator has a word for it
    if name != tasks.now.name:
        daemon.robot.task(name=name)
    return tasks.now
