"""The config that a recording is replayed with: the one inside it, or another, never that of real hardware."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

from runtime.config.config import Config
from runtime.config.errors import ConfigError, Mistake
from runtime.config.load import build
from runtime.config.paths import Places
from runtime.recording.reader import Recording
from runtime.replay.errors import ReplayError

NAME = "replayed.toml"
_PATHS = (
    ("policy", "model"),
    ("policy", "python"),
    ("policy", "fallback", "model"),
    ("policy", "fallback", "python"),
    ("emulated", "model"),
    ("safety", "workspace", "model"),
)
"""Keys of files that are named relative to the config."""
_LINES = ("estop", "estop_second", "reset", "drive_enable", "drive_feedback", "heartbeat")


def read(recording: Recording, config: Path | None) -> dict[str, Any]:
    """The config as a table. Raises RecordingError, ConfigError."""
    if config is None:
        return recording.config
    try:
        return tomllib.loads(config.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(config, [Mistake("", f"cannot be read: {error}")]) from error


def settle(table: dict[str, Any], beside: Path, folder: Path) -> Config:
    """Write the config into `folder`, which is for this replay alone, and check it.

    Its relative paths begin in `beside`; what is there is linked too, for modules of policies and tasks. Sockets
    and data go into `folder`. Raises ReplayError, ConfigError.
    """
    cameras = [("cameras", name, key) for name in table.get("cameras", {}) for key in ("file", "python")]
    missing = [_make_absolute(table, way, beside.resolve()) for way in (*_PATHS, *cameras)]
    if any(missing):
        raise ReplayError(
            "\n".join(filter(None, missing))
            + f"\nrelative paths of this config begin in {beside.resolve()}: name "
            "the folder where it lay with --beside DIR"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for entry in beside.resolve().iterdir():
        if not (link := folder / entry.name).exists():
            link.symlink_to(entry)
    path = folder / NAME
    path.write_text("\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in table.items()) + "\n")
    return build(path, tomllib.loads(path.read_text()), Places(folder, folder / "state"))


def without_hardware(table: dict[str, Any]) -> dict[str, Any]:
    """The config without what reaches beyond the emulated robot: upload, watchdog of the machine, sign-offs."""
    safety = {key: value for key, value in table.get("safety", {}).items() if key not in ("watchdog", "stages")}
    realtime = {**table.get("realtime", {}), "required": False}
    kept = {key: value for key, value in table.items() if key not in ("upload", "socket", "spool")}
    return {**kept, "safety": safety, "realtime": realtime}


def _make_absolute(table: dict[str, Any], way: tuple[str, ...], beside: Path) -> str:
    """Returns what is wrong: a relative path leads nowhere."""
    *sections, key = way
    for name in sections:
        table = table.get(name, {})
    value = table.get(key)
    if not isinstance(value, str) or not value or (key == "python" and "/" not in value):
        return ""
    path = os.path.expanduser(value)
    table[key] = os.path.normpath(beside / path)
    if os.path.isabs(path) or os.path.exists(table[key]):
        return ""
    return f'{".".join(way)}: found no file at {table[key]}, expected "{value}" of the config'


def refuse_hardware(config: Config) -> None:
    """Raises ReplayError when anything in the config is not the emulator's: no real robot may move."""
    run = str(config.places.run)
    real = []
    for plan in config.buses:
        options = plan.options.model_dump()
        where = str(options.get("port") or options.get("channel"))
        if not where.startswith(run) or options.get("interface", "unix") != "unix":
            real.append(f"bus {plan.options.name} at {where}")
    for sensor in config.sensors:
        where = str(sensor.options.model_dump().get("path", sensor.options.type))
        if not where.startswith(run):
            real.append(f"sensor {sensor.options.name} at {where}")
    for name in _LINES:
        line = getattr(config.safety, name, None)
        if line is not None and line.type != "emulated":
            real.append(f"line safety.{name}")
    if config.emulated is None:
        real.append("no section [emulated]")
    if real:
        raise ReplayError(
            f"found {', '.join(real)}, expected a robot that is emulated altogether, with all its sockets in "
            "{run}: a replay never moves a real one; name such a config with --config"
        )


def toml(value: Any) -> str:
    """A value of a config, on one line."""
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {toml(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return repr(value)
