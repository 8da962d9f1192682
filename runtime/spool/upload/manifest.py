"""Keys and manifests: what a data lake sees of a segment."""

from __future__ import annotations

import json
import time
from typing import Any

from runtime.spool.index import Facts
from runtime.spool.layout import Entry
from runtime.spool.upload.sums import FileSums

_HASH_LENGTH = 12
"""So many digits of the SHA-256 are part of the key."""
_EPISODE = {
    "episode": "id",
    "episode_part": "part",
    "task": "task",
    "outcome": "outcome",
    "verdict": "verdict",
}
"""What a manifest says of an episode, by the names in its metadata record; all empty for a segment of none."""


def key(fleet: str, robot: str, entry: Entry, facts: Facts, sums: FileSums) -> str:
    """Where a segment goes. The same content has the same key, another content has another one."""
    name = f"{entry.name}-{sums.sha256[:_HASH_LENGTH]}.mcap"
    return f"{_folder(fleet, robot, entry, _date(facts.first_ns))}/{name}"


def part_keys(key: str, sums: FileSums) -> list[str]:
    """Where the parts of a segment go; of one that goes as one, its own key."""
    count = len(sums.parts)
    return [key] if count == 1 else [f"{key}.{number:04d}-of-{count:04d}" for number in range(1, count + 1)]


def loss_key(fleet: str, robot: str, entry: Entry, lost_ns: int) -> str:
    """Where the report of a lost segment goes. `lost_ns`: wall time of the loss, ns since the epoch."""
    return f"{_folder(fleet, robot, entry, _date(lost_ns))}/{entry.name}.{entry.bytes}.lost.json"


def manifest(key: str, fleet: str, robot: str, entry: Entry, facts: Facts, sums: FileSums) -> bytes:
    """The JSON beside a segment."""
    return _json(
        {
            "segment": entry.name,
            "key": key,
            "bytes": sums.size,
            "sha256": sums.sha256,
            "fleet": fleet,
            "robot": robot,
            "date": _date(facts.first_ns),
            "class": str(entry.kind),
            "first_ns": facts.first_ns,
            "last_ns": facts.last_ns,
            "messages": facts.messages,
            **{ours: facts.episode.get(name, "") for ours, name in _EPISODE.items()},
            "parts": [
                {"key": name, "bytes": part.size, "sha256": part.sha256}
                for name, part in zip(part_keys(key, sums), sums.parts, strict=True)
            ],
        }
    )


def loss(fleet: str, robot: str, entry: Entry) -> bytes:
    """The JSON that reports a lost segment."""
    assert entry.reason is not None
    told = {"segment": entry.name, "lost": str(entry.reason), "bytes": entry.bytes}
    return _json({**told, "fleet": fleet, "robot": robot, "class": str(entry.kind)})


def _folder(fleet: str, robot: str, entry: Entry, date: str) -> str:
    return f"fleet={fleet}/robot={robot}/date={date}/class={entry.kind}"


def _date(wall_ns: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(wall_ns // 1_000_000_000))


def _json(told: dict[str, Any]) -> bytes:
    return json.dumps(told, indent=1).encode() + b"\n"
