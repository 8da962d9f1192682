"""docs/hazards.md: every row is whole, names a test that exists, and a time that somebody sets or has measured."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/hazards.md").read_text()
CONFIGURATION = (ROOT / "docs/configuration.md").read_text()
UNIT = (ROOT / "systemd/system/reflexd@.service").read_text()
FIGURE = re.compile(r"(?<![\d.])[\d.]+ (?:us|ms|s)\b")
MEASURED = set(FIGURE.findall((ROOT / "docs/benchmarks.md").read_text()))

COLUMNS = ["failure", "what it does", "caught by", "within", "test"]
ROWS_MIN = 40
NO_TIME = ("before anything moves", "robot not affected")
"""What a row says that has no time to tell: power was never on, or stays on for good reason."""


def rows(page: str) -> list[list[str]]:
    """The cells of all tables, without their heads."""
    lines = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in page.splitlines()
        if line.startswith("|") and not line.startswith("|--")
    ]
    return [line for line in lines if line != COLUMNS]


@cache
def names_in(path: Path) -> frozenset[str]:
    """Names of the tests in a file; none when there is no such file."""
    if not path.is_file():
        return frozenset()
    tree = ast.parse(path.read_text())
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def keys() -> set[str]:
    """Every key of the configuration, by its dotted name, and of the unit."""
    found = {line.partition("=")[0] for line in UNIT.splitlines() if "=" in line}
    sections: list[str] = []
    for line in CONFIGURATION.splitlines():
        if line.startswith("## "):
            sections = re.findall(r"`\[+([\w.]+)\]+`", line)
        elif key := re.match(r"\| `(\w+)` \|", line):
            found |= {f"{section}.{key[1]}" for section in sections}
    return found


def mistakes(page: str) -> list[str]:
    """What is wrong with the page, one sentence each."""
    found, seen, known = [], set[str](), keys()
    for cells in rows(page):
        name = cells[0]
        if len(cells) != len(COLUMNS) or not all(cells):
            found.append(f"{name}: a column is empty, missing or too many")
            continue
        if name.lower() in seen:
            found.append(f"{name}: this row is there twice")
        seen.add(name.lower())
        within, test = cells[3:]
        path, _, function = test.strip("`").partition("::")
        if function not in names_in(ROOT / path):
            found.append(f"{name}: there is no test {test}")
        named = re.findall(r"`([^`]+)`", within)
        found += [f"{name}: there is no key {key}" for key in named if key not in known]
        figures = FIGURE.findall(within)
        found += [f"{name}: nobody has measured {figure}" for figure in figures if figure not in MEASURED]
        if not (named or figures or within in NO_TIME):
            found.append(
                f"{name}: within: found {within!r}, expected a key, a measured figure or one of {NO_TIME}"
            )
    if len(seen) < ROWS_MIN:
        found.append(f"found {len(seen)} rows, expected at least {ROWS_MIN}")
    return found


def test_every_row_is_whole_and_true() -> None:
    assert mistakes(PAGE) == []


FIRST = next(line for line in PAGE.splitlines() if line.startswith("| the contactor is welded |"))


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        (FIRST, f"{FIRST}\n{FIRST}", "the contactor is welded: this row is there twice"),
        ("test_contactor.py::test_contactor", "test_contactor.py::test_no_one", "there is no test"),
        ("tests/rig/test_contactor.py", "tests/rig/test_none.py", "there is no test"),
        ("| safety thread, feedback |", "| |", "a column is empty"),
        ("| `safety.drive_feedback_time` |", "| soon |", "found 'soon', expected a key"),
        ("| `safety.drive_feedback_time` |", "| `safety.feedback_time` |", "there is no key safety.feedback_time"),
        ("| `safety.drive_feedback_time` |", "| 3 us |", "nobody has measured 3 us"),
    ],
)
def test_a_wrong_row_is_found(old: str, new: str, mistake: str) -> None:
    page = PAGE.replace(FIRST, FIRST.replace(old, new))
    assert page != PAGE
    [found] = mistakes(page)
    assert mistake in found


def test_too_few_rows_are_found() -> None:
    page = PAGE.split("## Processes")[0]
    assert any("expected at least 40" in text for text in mistakes(page))
