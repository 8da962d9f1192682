"""What is wrong with a config: every mistake at once, each with its file, its key and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a config."""

    key: str
    """Where it is: `control.rate`, `joint[2] elbow . position_max` (lists count from 0); "" = the whole file."""
    text: str
    """What was found, what was expected and what to do."""

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


class ConfigError(Exception):
    """A config cannot be used. Its text has one line for each mistake, with the file in front."""

    def __init__(self, path: Path, mistakes: Iterable[Mistake]) -> None:
        self.path = path
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{path}: {mistake}" for mistake in self.mistakes))
