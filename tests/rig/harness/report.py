"""The one table that a run ends with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

REMARK = (
    "Times were measured in a machine that is emulated in software: they say that things happen, and in which "
    "order, and nothing about how fast a robot's computer is."
)


@dataclass(slots=True)
class Row:
    """One scenario."""

    name: str
    outcome: str
    seconds: float
    facts: tuple[str, ...]


def table(rows: Iterable[Row], virtual: bool) -> str:
    """Markdown."""
    lines = ["| scenario | result | s | found |", "|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: row.name):
        facts = "; ".join(row.facts).replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {row.name} | {row.outcome} | {row.seconds:.0f} | {facts} |")
    return "\n".join([*lines, "", *([REMARK] if virtual else [])]) + "\n"
