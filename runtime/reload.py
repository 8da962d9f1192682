"""Reload: a running daemon takes over what can be changed safely in its config, or nothing at all."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runtime.config.config import Config
from runtime.config.errors import ConfigError
from runtime.config.load import SECTIONS
from runtime.config.models import Policy
from runtime.link.errors import Refused
from runtime.policy.commands import CommandRange
from runtime.recording.facts import facts

if TYPE_CHECKING:
    from runtime.daemon import Daemon

CHANGEABLE = re.compile(
    r"policy\.command\.\w+\.(default|min|max)|policy\.schedule|policy\.task\.\w+\.(id|prompt)"
    # Not the daemon's business: a line for people, and what the emulator reads when it starts.
    r"|robot\.description|emulated\b.*"
)
"""Keys that a running daemon takes over; every other one needs a restart."""


class Reload:
    """The operator's verb `reload`. It runs on the loop's thread, between ticks."""

    def __init__(self, daemon: Daemon, read: Callable[[], Config]) -> None:
        """`read`: reads the config again, as it was read at the start. Raises ConfigError."""
        self._daemon = daemon
        self._read = read
        self._lock = asyncio.Lock()

    async def __call__(self) -> dict[str, Any]:
        """Read the config and take its changes over; returns their keys as `changed`. Raises Refused."""
        async with self._lock:
            try:
                return {"changed": await self._reload()}
            except Refused as error:
                told = "; ".join([error.message, *error.reasons])
                self._daemon.events.emit("config.refused", told, level="warning", keys=", ".join(error.reasons))
                raise

    async def _reload(self) -> list[str]:
        daemon = self._daemon
        self._refuse_energised()
        try:
            # In a thread: reading and checking takes longer than a tick may wait.
            config = await asyncio.to_thread(self._read)
            told = await asyncio.to_thread(facts, config)
        except ConfigError as error:
            raise Refused("bad_config", "the config has mistakes", [str(error)]) from None
        self._refuse_energised()
        old, new = flat(daemon.config), flat(config)
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        if fixed := [key for key in changed if key not in old or key not in new or not CHANGEABLE.fullmatch(key)]:
            raise Refused("restart_needed", "nothing was changed, these keys need a restart", fixed)
        daemon.config = config
        if daemon.recorder is not None:
            daemon.recorder.describe(told)
        if daemon.planner is not None and config.policy is not None:
            daemon.planner.commands.replace(ranges(config.policy), schedule(config.policy))
            daemon.planner.tasks.replace(config.policy.tasks)
        message = f"the config was reloaded: {', '.join(changed) or 'nothing has changed'}"
        changes: dict[str, Any] = {key: f"{old[key]} -> {new[key]}" for key in changed}
        daemon.events.emit("config.reloaded", message, **changes)
        return changed

    def _refuse_energised(self) -> None:
        if self._daemon.loop.modes.energised:
            mode = self._daemon.loop.modes.mode.name
            raise Refused("mode", f"reload: the robot is energised (mode {mode}); disarm it first")


def ranges(policy: Policy) -> dict[str, CommandRange]:
    """The operator's commands of a config."""
    return {name: CommandRange(spec.default, spec.min, spec.max) for name, spec in policy.command.items()}


def schedule(policy: Policy) -> list[tuple[float, Mapping[str, float]]]:
    """The commands that a config gives by itself: seconds since the start of the policy, and values."""
    return [(step.at, step.set) for step in policy.schedule]


def flat(config: Config) -> dict[str, Any]:
    """Every key of a config with its value, entries of lists by name: `joint.elbow.kp`."""
    sections = {name: getattr(config, name).model_dump() for name in SECTIONS if getattr(config, name) is not None}
    lists: dict[str, Sequence[Any]] = {
        "bus": [plan.options for plan in config.buses],
        "joint": config.joints,
        "sensor": [plan.options for plan in config.sensors],
    }
    for name, entries in lists.items():
        sections[name] = {entry.name: entry.model_dump() for entry in entries}
    found: dict[str, Any] = {}
    for name, section in sections.items():
        _flatten(name, section, found)
    return found


def _flatten(key: str, value: Any, found: dict[str, Any]) -> None:
    if not isinstance(value, dict):
        found[key] = value
        return
    # The order counts: it is that of the arrays, and of the policy's observation.
    found[f"{key} (order)"] = list(value)
    for name, entry in value.items():
        _flatten(f"{key}.{name}", entry, found)
