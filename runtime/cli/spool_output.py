"""What `reflexctl spool` prints for a person."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

_BAR = 30


def spool(told: Mapping[str, Any], now_ns: int | None = None) -> list[tuple[str, str]]:
    """The spool, a label and a text for each line. `now_ns`: wall time, ns since the epoch."""
    now_ns = time.time_ns() if now_ns is None else now_ns
    lines = [("being written", size(told["open_bytes"]))]
    for state, label in (("ready", "waiting"), ("sent", "sent, still here"), ("lost", "LOST")):
        lines += [(label, f"{kind}: {_counted(count, now_ns)}") for kind, count in told[state].items()]
    if told["lost_why"]:
        lines.append(("lost because of", ", ".join(f"{why} {count}" for why, count in told["lost_why"].items())))
    lines += [("upload", line) for line in _upload(told.get("upload"))]
    return lines + [("TROUBLE", trouble) for trouble in told["trouble"]]


def _counted(count: Mapping[str, Any], now_ns: int) -> str:
    text = f"{count['segments']} segments, {size(count['bytes'])}"
    oldest_ns = count.get("oldest_ns")
    return f"{text}, the oldest {duration((now_ns - oldest_ns) / 1e9)} old" if oldest_ns else text


def _upload(upload: Mapping[str, Any] | None) -> list[str]:
    if upload is None:
        return ["none"]
    lines = [f"{upload['segments']} segments to go, {size(upload['bytes'])}"]
    if upload["rate_bps"]:
        lines[0] += f", {size(upload['rate_bps'])}/s"
    if upload["eta_s"] is not None:
        lines[0] += f", done in {duration(upload['eta_s'])}"
    for now in upload["now"]:
        part = min(1.0, now["sent"] / max(now["bytes"], 1))
        lines.append(f"[{'#' * round(part * _BAR):-<{_BAR}}] {part:.0%} of {now['segment']}")
    if upload["restricted"]:
        lines.append("only what goes always: the link is metered, or these are quiet hours")
    if upload["trouble"]:
        lines.append(f"TROUBLE: {upload['trouble']}")
    return lines


def size(count: float) -> str:
    """Bytes for a person."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.4g} GB"


def duration(seconds: float) -> str:
    """A time span for a person; 0 for a negative one, which a clock that was set back makes."""
    minutes = max(0, round(seconds)) // 60
    if minutes < 1:
        return f"{max(0, round(seconds))} s"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes // 1440} days"
