"""What has to outlive the daemon: one small file, replaced as a whole, believed only when its checksum fits."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any


class StoreError(Exception):
    """The file is there, but it is not what `write` has written."""


def read(path: Path, key: str) -> Any:
    """What was written under `key`; None when there is no file. Raises StoreError for any other reason."""
    try:
        content = json.loads(path.read_bytes())
        told = content[key]
        if content["sha256"] != _sha256(told):
            raise StoreError(f"{path} was damaged or changed by hand: its checksum does not fit")
        return told
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"{path} holds nothing of ours: {type(error).__name__}: {error}") from error


def write(path: Path, key: str, told: Any) -> None:
    """Replace the file: a power cut leaves the old one or, once this has returned, the new one. Raises OSError."""
    content = json.dumps({"sha256": _sha256(told), key: told}, indent=1).encode()
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
