"""Where the last sign-off is kept: one file, replaced as a whole, believed only when its checksum fits."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.stages.stage import SignOff, Stage


class StoreError(Exception):
    """The file is there, but it is not what `write` has written."""


def read(path: Path) -> SignOff | None:
    """The sign-off in a file; None when there is no file. Raises StoreError for any other reason to have none."""
    try:
        content = json.loads(path.read_bytes())
        told = content["signed"]
        if content["sha256"] != _sha256(told):
            raise StoreError(f"{path} was damaged or changed by hand: its checksum does not fit")
        return SignOff(
            Stage(told["stage"]),
            {str(name): str(value) for name, value in told["parts"].items()},
            str(told["by"]),
            str(told["user"]),
            tuple(str(name) for name in told["operated_by"]),
            int(told["wall_ns"]),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreError(f"{path} holds no sign-off: {type(error).__name__}: {error}") from error


def write(path: Path, signed: SignOff) -> None:
    """Replace the file: a power cut leaves the old one or, once this has returned, the new one. Raises OSError."""
    told = asdict(signed)
    content = json.dumps({"sha256": _sha256(told), "signed": told}, indent=1).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sha256(told: Any) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
