"""`reflexd check CONFIG`: whether a config is good, and how busy its buses will be."""

from __future__ import annotations

import sys
from pathlib import Path

from runtime.config.check import summary
from runtime.config.errors import ConfigError
from runtime.config.load import load
from runtime.config.workspace import space


def check(path: Path | str, run_dir: Path | str | None = None) -> int:
    """Print what was found. Returns the exit code: 0 when the config is good, 1 when it has mistakes."""
    try:
        config = load(path, run_dir)
        space(config)
        print(summary(config))
    except ConfigError as error:
        count = len(error.mistakes)
        print(f"{error}\n{count} mistake{'' if count == 1 else 's'}", file=sys.stderr)
        return 1
    return 0
