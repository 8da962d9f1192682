"""Where the last sign-off is kept."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from runtime import kept
from runtime.kept import StoreError
from runtime.stages.stage import SignOff, Stage

_KEY = "signed"


def read(path: Path) -> SignOff | None:
    """The sign-off in a file; None when there is no file. Raises StoreError for any other reason to have none."""
    told = kept.read(path, _KEY)
    if told is None:
        return None
    try:
        return SignOff(
            Stage(told["stage"]),
            {str(name): str(value) for name, value in told["parts"].items()},
            str(told["by"]),
            str(told["user"]),
            tuple(str(name) for name in told["operated_by"]),
            int(told["wall_ns"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} holds no sign-off: {type(error).__name__}: {error}") from error


def write(path: Path, signed: SignOff) -> None:
    """Replace the file as a whole. Raises OSError."""
    kept.write(path, _KEY, asdict(signed))
