"""Credentials of the server, from a systemd credential into the environment of the spool's process alone."""

from __future__ import annotations

from collections.abc import MutableMapping
from pathlib import Path

NAME = "upload.key"
"""The credential that the unit reflexd@NAME loads: `/etc/credstore/reflexd.NAME.upload.key`."""


def load(environment: MutableMapping[str, str]) -> str | None:
    """Take over lines `NAME=VALUE`, as an EnvironmentFile has them. Returns what is wrong, without any value."""
    folder = environment.get("CREDENTIALS_DIRECTORY")
    path = Path(folder, NAME) if folder else None
    if path is None or not path.exists():
        return None
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return f"the credential {path} cannot be read: {type(error).__name__}"
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():
            return f"the credential {path} has no NAME=VALUE in line {number}"
        environment[name.strip()] = value.strip().strip("\"'")
    return None
