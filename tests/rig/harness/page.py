"""The commands of docs/install.md, to be followed literally."""

from __future__ import annotations

import itertools

from tests.rig.harness.places import ROOT

PAGE = ROOT / "docs/install.md"


def blocks(heading: str) -> list[str]:
    """The indented blocks of commands under a heading of level 2, in their order."""
    lines = iter(PAGE.read_text().splitlines())
    section = itertools.takewhile(
        lambda line: not line.startswith("## "),
        itertools.islice(itertools.dropwhile(lambda line: line != f"## {heading}", lines), 1, None),
    )
    groups = itertools.groupby(section, lambda line: line.startswith("    "))
    found = ["\n".join(line[4:] for line in group) for indented, group in groups if indented]
    if not found:
        raise ValueError(f"{PAGE} has no commands under `## {heading}`")
    return found


def commands(heading: str, number: int) -> str:
    """One of these blocks, counted from 0."""
    return blocks(heading)[number]


def row(name: str) -> list[str]:
    """The commands in the row of a table that begins with this name."""
    found = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| {name} ")]
    if len(found) != 1:
        raise ValueError(f"{PAGE} has {len(found)} rows `{name}`, expected one")
    return found[0].split("`")[1::2]
