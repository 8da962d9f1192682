"""From a TOML file to a checked config, or to one error that lists every mistake of it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import date, time
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar

from drivers import registry
from drivers.bus import Bus, BusOptions
from drivers.errors import DriverError
from drivers.joint import Joint, Options
from drivers.sensor import Sensor, SensorOptions
from runtime.config import rules
from runtime.config.config import Config
from runtime.config.degraded import Degraded
from runtime.config.draft import Draft, SensorPlan
from runtime.config.errors import ConfigError, Mistake
from runtime.config.explain import validate
from runtime.config.models import Control, Emulated, Policy, Realtime, Recording, Robot, Safety, Socket, Spool
from runtime.config.paths import Place, Places, Report, expand, places
from runtime.config.upload import Upload
from runtime.config.words import found, meant, one_of, unknown_key

Model = TypeVar("Model", bound=Options)

SECTIONS: Mapping[str, type[Options]] = {
    "robot": Robot,
    "control": Control,
    "realtime": Realtime,
    "safety": Safety,
    "degraded": Degraded,
    "policy": Policy,
    "recording": Recording,
    "spool": Spool,
    "upload": Upload,
    "socket": Socket,
    "emulated": Emulated,
}
"""Tables: `[robot]`."""
LISTS = ("bus", "joint", "sensor")
"""Lists of tables: `[[bus]]`."""
HAVE_DEFAULTS = ("realtime", "safety", "degraded", "recording", "spool", "socket")
"""Sections that are there even when the file has none."""


def load(
    path: Path | str, run_dir: Path | str | None = None, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Read and check a config. Raises ConfigError with all mistakes at once, and nothing else.

    `overrides`: values that win over the file, by dotted key: `{"policy.inline": True}`. An entry of a list
    is reached by its number or its name (`joint.elbow.kp`); None removes a key.
    """
    path = Path(path)
    try:
        return build(path, _read(path), places(run_dir), overrides)
    except RecursionError:
        raise ConfigError(path, [Mistake("", "found values nested too deeply, expected a few levels")]) from None


def build(path: Path, table: dict[str, Any], where: Places, overrides: Mapping[str, Any] | None = None) -> Config:
    """Check a config that was read already. Raises ConfigError."""
    draft = Draft(path, table)
    for key, value in (overrides or {}).items():
        _override(draft, key, value)
    _check_shape(draft)
    for name, model in SECTIONS.items():
        if name in draft.table:
            setattr(draft, name, _section(draft, where, (name,), model, draft.table[name]))
    for number, entry in enumerate(draft.entries("bus")):
        driver = _bus_class(draft, ("bus", number, "type"), entry)
        options = _section(draft, where, ("bus", number), driver.Options if driver else BusOptions, entry)
        draft.buses.append((driver, options) if driver and options else None)
    for number, entry in enumerate(draft.entries("joint")):
        draft.joints.append(_section(draft, where, ("joint", number), Joint, entry))
    for number, entry in enumerate(draft.entries("sensor")):
        sensor = _sensor_class(draft, ("sensor", number, "type"), entry)
        model = sensor.Options if sensor else SensorOptions
        measured = _section(draft, where, ("sensor", number), model, entry)
        draft.sensors.append(SensorPlan(measured, sensor) if sensor and measured else None)
    warnings = rules.apply(draft)
    if draft.mistakes:
        raise ConfigError(path, draft.mistakes)
    return Config.of(draft, where, warnings)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        problem = f"found no such file (looked at {path.absolute()}), expected a config in TOML; correct the path"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}; check the path and its permissions"
    except UnicodeDecodeError as error:
        problem = f"found byte {error.start} that is not UTF-8, expected text; save the file as UTF-8"
    except tomllib.TOMLDecodeError as error:
        text = str(error)
        at = re.search(r" \(at (.*)\)$", text)
        problem = f"{text[: at.start()] if at else text}; correct the TOML here"
        raise ConfigError(path, [Mistake(at[1] if at else "", problem)]) from None
    except ValueError:
        problem = "found a number with too many digits, expected at most 64 bits; write it shorter"
    raise ConfigError(path, [Mistake("", problem)])


def _override(draft: Draft, key: str, value: Any) -> None:
    *way, last = key.split(".")
    target: Any = draft.table
    for part in way:
        if isinstance(target, list):
            target = _entry(target, part)
        elif isinstance(target, dict):
            target = target.setdefault(part, {})
    if not isinstance(target, dict):
        draft.report((key,), "found no such table to override, expected a key of the config; correct it")
    elif value is None:
        target.pop(last, None)
    else:
        target[last] = value


def _entry(entries: list[Any], part: str) -> Any:
    if part.isdecimal():
        return entries[int(part)] if int(part) < len(entries) else None
    return next((e for e in entries if isinstance(e, dict) and e.get("name") == part), None)


def _check_shape(draft: Draft) -> None:
    """Report sections that are unknown, missing or of the wrong kind; leave only those that can be looked at."""
    table, known = draft.table, [*SECTIONS, *LISTS]
    broken = set()
    for name, value in table.items():
        if name not in known:
            draft.report((name,), unknown_key(name, known))
        elif name in SECTIONS and not isinstance(value, dict):
            draft.report((name,), f"found {found(value)}, expected a table; write [{name}]")
        elif name in LISTS and not (isinstance(value, list) and all(isinstance(e, dict) for e in value)):
            draft.report((name,), f"found {found(value)}, expected a list of tables; write [[{name}]]")
        else:
            continue
        broken.add(name)
    for name in ("robot", "control", "bus", "joint"):
        if name not in broken and (name not in table or (name in LISTS and not table[name])):
            brackets = f"[[{name}]]" if name in LISTS else f"[{name}]"
            draft.report((name,), f"found nothing, expected {brackets}; add it")
            broken.add(name)
    draft.table = {name: value for name, value in table.items() if name not in broken}
    for name in HAVE_DEFAULTS:
        if name not in broken:
            draft.table.setdefault(name, {})


def _section(draft: Draft, where: Places, place: Place, model: type[Model], table: dict[str, Any]) -> Model | None:
    """A table as its model, with placeholders replaced, also in the defaults; None when it has a mistake."""
    _refuse_odd_values(table, place, draft)
    defaults = {
        name: str(field.default)
        for name, field in model.model_fields.items()
        if isinstance(field.default, str | Path) and "{" in str(field.default)
    }
    # An unknown driver's own keys cannot be judged: its base says nothing about them.
    base = model in (BusOptions, SensorOptions)
    given = {name: value for name, value in table.items() if not base or name in model.model_fields}
    return validate(model, expand({**defaults, **given}, where, place, draft.report), place, draft.report)


def _refuse_odd_values(value: Any, place: Place, draft: Draft) -> None:
    """Report what TOML allows and no config needs."""
    match value:
        case dict():
            for key, entry in value.items():
                _refuse_odd_values(entry, (*place, key), draft)
        case list():
            for number, entry in enumerate(value):
                _refuse_odd_values(entry, (*place, number), draft)
        case float() if not isfinite(value):
            draft.refuse(place, f"found {value}, expected a finite number; write the number")
        case int() if not -(2**63) <= value < 2**63:
            draft.refuse(place, "found a whole number of more than 64 bits, expected a smaller one; shorten it")
        case date() | time():
            draft.refuse(place, f"found the date {value}, expected text or a number; put text in quotes")


def _bus_class(draft: Draft, place: Place, entry: Mapping[str, Any]) -> type[Bus] | None:
    if not _type_is_known(draft.report, place, entry, registry.MOTORS):
        return None
    try:
        return registry.bus_class(entry["type"])
    except DriverError as error:
        draft.report(place, str(error))
    return None


def _sensor_class(draft: Draft, place: Place, entry: Mapping[str, Any]) -> type[Sensor] | None:
    if not _type_is_known(draft.report, place, entry, registry.SENSORS):
        return None
    try:
        return registry.sensor_class(entry["type"])
    except DriverError as error:
        draft.report(place, str(error))
    return None


def _type_is_known(report: Report, place: Place, entry: Mapping[str, Any], group: str) -> bool:
    name = entry.get("type")
    if not isinstance(name, str):
        return False  # the model of the options says so
    known = registry.known(group)
    if name not in known:
        advice = meant(name, known, f"correct it, or install the package that offers it under {group}")
        report(place, f"found {found(name)}, expected {one_of(known)}; {advice}")
    return name in known
