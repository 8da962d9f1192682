"""The report of a demonstration, beside that of the other way to run the inference."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def kind(inline: bool) -> str:
    """Name of a way to run the inference."""
    return "inline" if inline else "reflexd"


def exchange(store: Path, result: dict[str, Any]) -> dict[str, Any] | None:
    """Keep this result and return the last one of the other kind for the same robot, if there is one."""
    store.mkdir(parents=True, exist_ok=True)
    mine = store / f"{result['robot']}-{kind(result['inline'])}.json"
    mine.write_text(json.dumps(result, indent=1))
    other = store / f"{result['robot']}-{kind(not result['inline'])}.json"
    try:
        found: dict[str, Any] = json.loads(other.read_text())
    except (OSError, ValueError):
        return None
    return found


def text(result: dict[str, Any], other: dict[str, Any] | None) -> str:
    """The table: this run, and the other one when there is one."""
    runs = sorted([run for run in (result, other) if run is not None], key=lambda run: bool(run["inline"]))
    columns = [_column(run) for run in runs]
    names = [name for name, _ in columns[0]]
    rows = [("", *(kind(run["inline"]) for run in runs))]
    rows += [(name, *(dict(column).get(name, "-") for column in columns)) for name in names]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n" + "\n".join(lines)


def _column(run: dict[str, Any]) -> list[tuple[str, str]]:
    status, task = run["status"], run["task"]
    rows = [("inference latency", f"{run['latency_s'] * 1e3:.0f} ms")]
    if "in_bin" in task:
        rows.append(("objects in the bin", f"{task['in_bin']} of {task['total']}"))
    if "falls" in task:
        rows.append(("falls", str(task["falls"])))
        for window in task["windows"]:
            command = " ".join(f"{name} {value:g}" for name, value in window["command"].items())
            errors = " ".join(f"{window[f'rms_{name}']:.3f}" for name in ("vx", "vy", "yaw_rate"))
            rows.append((f"rms error vx vy yaw at {command}", errors))
    lateness, cost = status["lateness_us"], status["cost_us"]
    rows += [
        ("task", "succeeded" if task["success"] else "failed"),
        ("control rate", f"{status['rate_measured_hz']:.2f} Hz of {status['rate_hz']:g}"),
        ("missed deadlines", str(status["missed_deadlines"])),
        ("starved ticks", str(status["starved_ticks"])),
        ("largest disagreement at a seam", f"{status['policy']['seam']['before_max_rad']:.3f} rad"),
        ("largest step at a seam, before the envelope", f"{status['seam_step_max_rad']:.3f} rad"),
        ("commands limited: position", str(status["limits"]["position"])),
        ("commands limited: velocity", str(status["limits"]["velocity"])),
        ("commands limited: acceleration", str(status["limits"]["acceleration"])),
        ("lateness p50 / p99 / max", f"{lateness['p50']:.0f} / {lateness['p99']:.0f} / {lateness['max']:.0f} us"),
        ("cost of a tick p50 / p99", f"{cost['p50']:.0f} / {cost['p99']:.0f} us"),
        ("chunks, too late", f"{status['policy']['chunks']}, {status['policy']['useless_chunks']}"),
        ("policy failures", str(sum(status["policy"]["failures"].values()))),
        ("replies lost / late / corrupt", _replies(status)),
        ("memory of the daemon", f"{run['memory_mb']:.0f} MB"),
    ]
    return rows


def _replies(status: dict[str, Any]) -> str:
    return " / ".join(str(sum(bus[key] for bus in status["buses"])) for key in ("lost", "late", "corrupt"))
