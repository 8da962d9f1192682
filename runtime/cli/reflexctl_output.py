"""What `reflexctl` prints: plain aligned text for people, JSON for programs."""

from __future__ import annotations

import json
import math
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runtime.cli.spool_output import spool

Line = tuple[str, str]
"""A label and what stands beside it."""

_BESIDE = 3
"""So many facts of an event stand beside its message; more stand below, one on a line."""


def write(text: str) -> None:
    """Print a text and a line's end, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def as_json(value: Any) -> str:
    """One line of JSON; numbers that JSON lacks (NaN, infinities) become null."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, default=str)


def human(command: str, result: Any) -> str:
    """The result of a command, for a person."""
    if command == "status" and isinstance(result, dict):
        return _aligned(status(result))
    if command == "preflight" and isinstance(result, dict):
        return _aligned(preflight(result))
    if command == "promote" and isinstance(result, dict):
        return "\n".join(_stage({"stage": result}))
    if command == "episode" and isinstance(result, dict):
        return _episode({"episode": result})
    if command == "spool" and isinstance(result, dict):
        return _aligned(spool(result))
    if command in ("joints", "limits") and isinstance(result, list):
        return table(result)
    if command == "task" and isinstance(result, dict):
        return tasks(result)
    if result is None:
        return f"{command}: done"
    if isinstance(result, dict):
        return _aligned([(str(key), plain(value)) for key, value in result.items()])
    return plain(result)


def event(told: Mapping[str, Any]) -> str:
    """One event: local time, level, name, message, facts."""
    wall = told.get("wall_ns", 0)
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall // 1_000_000_000))
    facts = [(key, plain(value)) for key, value in (told.get("fields") or {}).items() if key != "traceback"]
    if len(facts) <= _BESIDE:
        shown = "".join(f"  {key}={value}" for key, value in facts)
    else:
        shown = "\n" + textwrap.indent(_aligned(facts), "    ")
    return (
        f"{clock}.{wall // 1_000_000 % 1000:03d}  {told.get('level', ''):<7}  {told.get('name', '')}  "
        f"{told.get('message', '')}{shown}"
    )


class Screen:
    """A text that is shown in place of the one before, on a terminal."""

    def __init__(self) -> None:
        sys.stdout.write("\x1b[2J")

    def show(self, text: str) -> None:
        """Show a text; what does not fit is left out."""
        columns, rows = shutil.get_terminal_size()
        lines = [line[:columns] for line in text.splitlines()[: rows - 1]]
        sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
        sys.stdout.flush()


def status(told: Mapping[str, Any]) -> list[Line]:
    """The status, one line per topic; keys that this release does not know come last, as they are."""
    left = dict(told)
    lines: list[Line] = []
    for label, keys, words in _TOPICS:
        if any(left.get(key) is not None for key in keys):
            try:
                text = words({key: left.get(key) for key in keys})
            except (TypeError, ValueError, AttributeError, KeyError):
                # A daemon of another release may tell it in another shape: better raw than not at all.
                text = plain({key: left.get(key) for key in keys})
            lines += [(label, line) for line in text] if isinstance(text, list) else [(label, text)]
        for key in keys:
            left.pop(key, None)
    return lines + [(key, plain(value)) for key, value in left.items()]


def preflight(told: Mapping[str, Any]) -> list[Line]:
    """The arming checks, one line for each reason; a check that passes has one line."""
    return [
        (name, text)
        for name, reasons in told["checks"].items()
        for text in ([f"NO: {reason}" for reason in reasons] or ["ok"])
    ]


def tasks(told: Mapping[str, Any]) -> str:
    """The tasks that there are, the one in force with a mark; a prompt of the operator's own words comes last."""
    now, known = told["task"], told["tasks"]
    if not known:
        return "the policy has no tasks"
    rows = known if now in known else [*known, now]
    return table([{"now": "*" if row == now else "", **row} for row in rows])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Maps with the same keys as a table; numbers to the right."""
    if not rows:
        return "none"
    heads = list(dict.fromkeys(key for row in rows for key in row))
    cells = [heads] + [[_cell(row.get(head)) for head in heads] for row in rows]
    right = [any(isinstance(row.get(head), int | float) for row in rows) for head in heads]
    widths = [max(len(line[i]) for line in cells) for i in range(len(heads))]
    return "\n".join(
        "  ".join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)).rstrip()
        for line in cells
    )


def plain(value: Any) -> str:
    """Any value on one line, without brackets where it is clear."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:.1f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inner(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(_inner(item) for item in value) or "none"
    return str(value)


def _cell(value: Any) -> str:
    """A value in a table: of a map of counts only what was counted."""
    if isinstance(value, Mapping):
        return plain({key: item for key, item in value.items() if item}) if any(value.values()) else "-"
    return plain(value)


def _inner(value: Any) -> str:
    return f"({plain(value)})" if isinstance(value, Mapping | list | tuple) else plain(value)


def _aligned(lines: Sequence[Line]) -> str:
    width = max((len(label) for label, _ in lines), default=0)
    shown, last = [], ""
    for label, text in lines:
        shown.append(f"{'' if label == last else label:<{width}}  {text}".rstrip())
        last = label
    return "\n".join(shown)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _robot(s: Mapping[str, Any]) -> str:
    parts = [str(s["robot"] or "-")]
    if s["config"]:
        parts.append(f"from {s['config']}")
    if s["version"]:
        parts.append(f"reflexd {s['version']}")
    if s["uptime_s"] is not None:
        parts.append(f"up {_duration(s['uptime_s'])}")
    return ", ".join(parts)


def _stop(s: Mapping[str, Any]) -> str | list[str]:
    stop = s["stop"]
    if stop["category"] is None and not stop["reasons"]:
        return "none"
    head = "none" if stop["category"] is None else f"category {stop['category']}"
    return [head, *stop["reasons"]]


def _safety(s: Mapping[str, Any]) -> str:
    enable = s["drive_enable"]
    told = "no line" if enable is None else "on" if enable else "off"
    return f"{s['estop'] or '-'}, drive-enable {told}"


def _stage(s: Mapping[str, Any]) -> list[str]:
    stage = s["stage"]
    scale = f"{stage['scale']:.0%} of speed and torque" if stage["scale"] else "motors stay off"
    broken = f", begun anew: {stage['broken_by']}" if stage["broken_by"] else ""
    run = f"run of {_duration(stage['run_s'])} of {_duration(stage['needed_s'])}{broken}"
    return [f"{stage['name']}, {scale}, {run}", *stage["lowered"]]


def _health(s: Mapping[str, Any]) -> list[str]:
    health = s["health"]
    lines = [f"UNHEALTHY: {health['unhealthy']}"] if health["unhealthy"] else []
    if health["auto_disabled"]:
        lines.append("AUTO is disabled until a reset")
    attempts, faults = health["failed_attempts"], health["joint_faults"]
    return [*lines, f"{attempts} failed attempts in a row, {faults} stops because of joints in an hour"]


def _rate(s: Mapping[str, Any]) -> str:
    asked, measured, missed = s["rate_hz"], s["rate_measured_hz"], s["missed_deadlines"]
    got = "-" if measured is None else f"{measured:.3f}"
    return f"{got} of {plain(asked)} Hz, tick {plain(s['tick'])}, {plain(missed)} deadlines missed"


def _task(s: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {plain(value)}" for key, value in s["task"].items() if value is not None)


def _policy(s: Mapping[str, Any]) -> str:
    policy = dict(s["policy"])
    parts = [str(policy.pop("state", "-"))]
    if policy.pop("inline", False):
        parts.append("inside the tick")
    if (latency := policy.pop("latency_ms", None)) is not None:
        parts.append(f"latency {latency:.1f} ms")
    if (failures := policy.pop("failures", None)) is not None:
        policy["failures"] = sum(failures.values()) and failures
    return ", ".join(parts + [f"{key} {_inner(value)}" for key, value in policy.items()])


def _plan(s: Mapping[str, Any]) -> str:
    parts = [f"{plain(s['plan_ahead_s'])} s ahead", f"{plain(s['starved_ticks'])} starved ticks"]
    if s["seam_step_max_rad"] is not None:
        parts.append(f"largest step at a seam {plain(s['seam_step_max_rad'])} rad")
    return ", ".join(parts)


def _buses(s: Mapping[str, Any]) -> list[str]:
    return table(s["buses"]).splitlines()


def _sensors(s: Mapping[str, Any]) -> str:
    ages = [(sensor["name"], sensor["age_s"]) for sensor in s["sensors"]]
    return (
        ", ".join(f"{n} never" if a is None or math.isnan(a) else f"{n} {a * 1e3:.1f} ms" for n, a in ages)
        or "none"
    )


def _episode(s: Mapping[str, Any]) -> str:
    told = s["episode"]
    task = "".join(f", {key} {told[key]}" for key in ("task", "prompt") if told[key] is not None)
    return f"{told['id']}{task}, {told['interventions']} interventions, {told['notes']} notes"


def _recording(s: Mapping[str, Any]) -> str:
    recording = s["recording"]
    failed = f", FAILED: {recording['failed']}" if recording.get("failed") else ""
    return f"{plain(recording['path'])}, {recording['bytes'] / 1e6:.1f} MB, {recording['dropped']} dropped{failed}"


def _spool(s: Mapping[str, Any]) -> list[str]:
    spool = s["spool"]

    def total(state: str) -> tuple[int, float]:
        counts = spool[state].values()
        return sum(count["segments"] for count in counts), sum(count["bytes"] for count in counts) / 1e6

    ready, ready_mb = total("ready")
    sent, sent_mb = total("sent")
    lost, lost_mb = total("lost")
    text = f"{ready} segments wait, {ready_mb:.1f} MB; {sent} are sent and still here, {sent_mb:.1f} MB"
    return [f"{text}; {lost} LOST, {lost_mb:.1f} MB" if lost else text, *spool["trouble"]]


def _realtime(s: Mapping[str, Any]) -> list[str]:
    lines = []
    for item in s["realtime"]:
        detail = f", {item['detail']}" if item.get("detail") else ""
        lines.append(f"{item['item']}: {'yes' if item['achieved'] else 'no'}{detail}")
    return lines or ["none"]


def _duration(seconds: float) -> str:
    whole = int(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _same(key: str, unit: str = "") -> Callable[[Mapping[str, Any]], str]:
    return lambda s: f"{plain(s[key])}{unit}"


_TOPICS: tuple[tuple[str, tuple[str, ...], Callable[[Mapping[str, Any]], str | list[str]]], ...] = (
    ("robot", ("robot", "config", "version", "uptime_s"), _robot),
    ("mode", ("mode",), _same("mode")),
    ("stop", ("stop",), _stop),
    ("e-stop", ("estop", "drive_enable"), _safety),
    ("last reset", ("reset_by",), lambda s: f"by the hardware watchdog {s['reset_by']}: something had frozen"),
    ("health", ("health",), _health),
    ("stage", ("stage",), _stage),
    ("rate", ("rate_hz", "rate_measured_hz", "tick", "missed_deadlines"), _rate),
    ("lateness", ("lateness_us",), _same("lateness_us", " us")),
    ("cost", ("cost_us",), _same("cost_us", " us")),
    ("policy", ("policy",), _policy),
    ("plan", ("plan_ahead_s", "starved_ticks", "seam_step_max_rad"), _plan),
    ("limits hit", ("limits",), _same("limits")),
    ("commands", ("commands",), _same("commands")),
    ("task", ("task",), _task),
    ("buses", ("buses",), _buses),
    ("sensors", ("sensors",), _sensors),
    ("episode", ("episode",), _episode),
    ("recording", ("recording",), _recording),
    ("spool", ("spool",), _spool),
    ("events", ("events",), _same("events")),
    ("real time", ("realtime",), _realtime),
    ("memory", ("memory_mb",), _same("memory_mb", " MB")),
)
