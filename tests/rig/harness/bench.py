"""The file that names a bench: real computers, real lines, and the word of the one who stands beside it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

_KEYS = {"robot": str, "board": str, "nobody_is_near": bool, "torque_is_limited": bool}


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """Two computers, as ssh finds them."""

    robot: str
    board: str


def load(path: Path) -> BenchConfig:
    """Read it. Raises UsageError for a mistake, and when it does not say that the robot can hurt nobody."""
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise pytest.UsageError(f"{path}: {error}") from error
    problems = [f"unknown key {key}" for key in found if key not in _KEYS]
    for key, kind in _KEYS.items():
        if not isinstance(found.get(key), kind):
            problems.append(f"{key}: found {found.get(key)!r}, expected {'text' if kind is str else 'true'}")
        elif found[key] is False:
            problems.append(
                f"{key}: found false; these scenarios move the robot and fail on purpose, so make it true"
            )
    if problems:
        raise pytest.UsageError(f"{path}: the bench is not used: " + "; ".join(problems))
    return BenchConfig(found["robot"], found["board"])
