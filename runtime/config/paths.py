"""Where a running robot keeps its sockets and its data, and the placeholders that stand for these places."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Place = tuple[str | int, ...]
"""Where something is in a config: `("joint", 2, "position_max")`."""
Report = Callable[[Place, str], None]
"""Takes a mistake: where it is, and what is wrong."""

SOCKET_PATH_MAX = 107
"""Longest path of a Unix socket, bytes: `sun_path` has 108 with the closing zero (unix(7))."""

SOCKETS = frozenset(
    {
        ("socket", "path"),
        ("emulated", "gpio"),
        ("emulated", "control"),
        ("safety", "estop", "path"),
        ("safety", "estop_second", "path"),
        ("safety", "reset", "path"),
        ("safety", "drive_enable", "path"),
        ("safety", "drive_feedback", "path"),
        ("safety", "heartbeat", "path"),
    }
)
"""Unix sockets, whatever their value; anything else counts as one when it lies under `{run}`."""

FREE_TEXT = frozenset({("robot",), ("policy", "options"), ("policy", "fallback", "options")})
"""Places where braces are only braces."""

CLASS_PATTERN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""`module:Class`."""

_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


@dataclass(frozen=True, slots=True)
class Places:
    """The two directories of a running robot."""

    run: Path
    """Sockets and links; gone after a reboot. `{run}` in a config."""
    state: Path
    """Data that is kept. `{state}` in a config."""


def run_directory(env: Mapping[str, str] = os.environ) -> Path:
    """`$RUNTIME_DIRECTORY` (set by systemd), else `$XDG_RUNTIME_DIR/reflexd`, else `/tmp/reflexd-UID`."""
    if given := env.get("RUNTIME_DIRECTORY"):
        return Path(given.split(":")[0])
    if base := env.get("XDG_RUNTIME_DIR"):
        return Path(base, "reflexd")
    return Path(f"/tmp/reflexd-{os.getuid()}")


def state_directory(env: Mapping[str, str] = os.environ) -> Path:
    """`$STATE_DIRECTORY` (set by systemd), else `$XDG_STATE_HOME/reflexd`, else `~/.local/state/reflexd`."""
    if given := env.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    if base := env.get("XDG_STATE_HOME"):
        return Path(base, "reflexd")
    return Path(env.get("HOME") or Path.home(), ".local/state/reflexd")


def places(
    run_dir: Path | str | None = None, state_dir: Path | str | None = None, env: Mapping[str, str] = os.environ
) -> Places:
    """The directories of this process; an explicit one wins over the environment."""
    run = Path(run_dir) if run_dir is not None else run_directory(env)
    state = Path(state_dir) if state_dir is not None else state_directory(env)
    return Places(run.absolute(), state.absolute())


def expand(value: Any, where: Places, place: Place, report: Report) -> Any:
    """`value` with `{run}` and `{state}` replaced in every string of it, however deep.

    Reports each unknown placeholder and each socket path that the kernel would not take.
    """
    if isinstance(value, dict):
        return {key: expand(entry, where, (*place, key), report) for key, entry in value.items()}
    if isinstance(value, list):
        return [expand(entry, where, (*place, number), report) for number, entry in enumerate(value)]
    if not isinstance(value, str) or any(place[:depth] in FREE_TEXT for depth in (1, 2, 3)):
        return value
    known = {"run": str(where.run), "state": str(where.state)}
    for name in sorted(set(_PLACEHOLDER.findall(value)) - set(known)):
        report(place, f"found the placeholder {{{name}}}, expected {{run}} or {{state}}; no other one is known")
    text = _PLACEHOLDER.sub(lambda match: known.get(match[1], match[0]), value)
    length = len(text.encode(errors="surrogatepass"))
    if length > SOCKET_PATH_MAX and (place in SOCKETS or value.startswith("{run}")):
        report(
            place,
            f"found a path of {length} bytes ({text}), expected at most {SOCKET_PATH_MAX}, "
            "the longest that a Unix socket can have; choose a shorter run directory or name",
        )
    return text


def beside(config: Path, name: str) -> str:
    """A file named in a config, as an absolute path: relative names start at the config's own folder."""
    return os.path.normpath(config.absolute().parent / os.path.expanduser(name))


def interpreter(config: Path, name: str) -> str | None:
    """A Python interpreter named in a config: a bare name is looked up in PATH; None when it is not there."""
    found = shutil.which(name if os.sep not in name else beside(config, name))
    return os.path.abspath(found) if found else None
