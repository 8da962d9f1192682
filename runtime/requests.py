"""What may be asked over the control socket: every operation, who may ask for it, and what it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from runtime.episode_verbs import episode, name_of
from runtime.link.errors import Refused
from runtime.link.peers import Peer, Role
from runtime.link.server import Handler, number
from runtime.spool.spool import Spool
from runtime.status import joints, known_tasks, limits

if TYPE_CHECKING:
    from runtime.daemon import Daemon


def handlers(daemon: Daemon) -> Mapping[str, Handler]:
    """All operations by their names, but those that the control socket itself answers."""
    robot = daemon.robot

    def plain(call: Any) -> Any:
        return lambda args: call()

    def operates(call: Callable[[dict[str, Any]], Any]) -> Handler:
        """A verb by which a person operates the robot: who that was counts when a stage is signed off."""

        def note(args: dict[str, Any], peer: Peer) -> Any:
            if daemon.commissioning is not None:
                daemon.commissioning.operated(peer.uid)
            return call(args)

        return Handler(note, Role.OPERATOR, tell_peer=True)

    return {
        "joints": Handler(lambda args: joints(daemon), Role.OBSERVER),
        "limits": Handler(lambda args: limits(daemon), Role.OBSERVER),
        "histograms": Handler(lambda args: _histograms(daemon), Role.OBSERVER),
        "clear_histograms": Handler(lambda args: _clear_histograms(daemon), Role.OPERATOR),
        "preflight": operates(plain(robot.preflight)),
        "promote": Handler(partial(_promote, daemon), Role.OPERATOR, tell_peer=True),
        "arm": operates(plain(robot.arm)),
        "start": operates(plain(robot.start)),
        "stop": Handler(lambda args: robot.stop(_flag(args, "failed")), Role.OPERATOR),
        "disarm": Handler(lambda args: _disarm(daemon), Role.OPERATOR),
        "reset": Handler(lambda args: robot.reset(_flag(args, "healthy")), Role.OPERATOR),
        "reload": Handler(plain(daemon.reload), Role.OPERATOR),
        "estop": Handler(lambda args: robot.estop("an operator"), Role.OBSERVER),
        "spool": Handler(lambda args: _spool_status(daemon), Role.OBSERVER),
        "spool_keep": Handler(
            lambda args: _spool(daemon).request("keep", segment=_text(args, "segment")), Role.OPERATOR
        ),
        "spool_upload": Handler(lambda args: _spool(daemon).request("send_now"), Role.OPERATOR),
        "episode": Handler(partial(episode, daemon), Role.OPERATOR, tell_peer=True),
        "command": operates(lambda args: robot.command(_numbers(args, "values"))),
        "tasks": Handler(lambda args: known_tasks(daemon), Role.OBSERVER),
        "task": operates(partial(_change_task, daemon)),
        "move": Handler(partial(_move, daemon), Role.OPERATOR, tell_peer=True),
    }


async def _disarm(daemon: Daemon) -> None:
    await daemon.robot.disarm()
    daemon.episodes.cut_off("the robot was disarmed")


async def _move(daemon: Daemon, args: dict[str, Any], peer: Peer) -> None:
    if daemon.commissioning is not None:
        daemon.commissioning.operated(peer.uid)
    goals = _numbers(args, "joints")
    daemon.episodes.mover = await name_of(peer)
    daemon.robot.move(goals)


def _change_task(daemon: Daemon, args: dict[str, Any]) -> dict[str, Any]:
    name, prompt = args.get("name"), args.get("prompt")
    if isinstance(name, str) and prompt is None:
        daemon.robot.task(name=name)
    elif isinstance(prompt, str) and name is None:
        daemon.robot.task(prompt=prompt)
    else:
        raise Refused("bad_request", "found no single text, expected either name or prompt, which is a text")
    return known_tasks(daemon)


def _spool(daemon: Daemon) -> Spool:
    if daemon.spool is None:
        raise Refused("spool", "there is no spool: recording.enabled is false")
    return daemon.spool


def _spool_status(daemon: Daemon) -> dict[str, Any]:
    if (told := _spool(daemon).status) is None:
        raise Refused("spool", "the spool has not been looked at yet; the events tell when that fails")
    return told


async def _promote(daemon: Daemon, args: dict[str, Any], peer: Peer) -> dict[str, Any]:
    by = args.get("by")
    if not isinstance(by, str):
        raise Refused("bad_request", f"by: found {by!r:.80}, expected the name of the person who signs")
    if daemon.commissioning is None:
        raise Refused("stage", "this robot has no stages: its config has no [safety.stages]")
    return await daemon.commissioning.promote(by, peer.uid)


def _clear_histograms(daemon: Daemon) -> None:
    daemon.ticker.ticks.lateness.clear()
    daemon.loop.cost.clear()


def _histograms(daemon: Daemon) -> dict[str, Any]:
    lateness, cost = daemon.ticker.ticks.lateness, daemon.loop.cost
    return {"lateness_us": lateness.summary_us(), "cost_us": cost.summary_us()}


def _text(args: Mapping[str, Any], key: str) -> str:
    """The argument `key`, a text that fits into a file's name. Raises Refused."""
    value = args.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= 200 or "/" in value:
        raise Refused("bad_request", f"{key}: found {value!r:.80}, expected the name of a segment")
    return value


def _flag(args: Mapping[str, Any], key: str) -> bool:
    """The argument `key`: true or false, false when it is left out. Raises Refused."""
    value = args.get(key, False)
    if not isinstance(value, bool):
        raise Refused("bad_request", f"{key}: found {value!r:.80}, expected true or false")
    return value


def _numbers(args: Mapping[str, Any], key: str) -> dict[str, float]:
    """The argument `key`: a map of finite numbers by name. Raises Refused."""
    values = args.get(key)
    if not isinstance(values, dict) or not values:
        raise Refused("bad_request", f"{key}: found {values!r}, expected a map of names to numbers")
    return {str(name): number(values, name, 0.0) for name in values}
