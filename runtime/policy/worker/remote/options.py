"""Options that all remote backends share: where the server is, what goes to it under which name, what comes back.

Runs in the worker's interpreter: Python 3.9, numpy and the standard library only. `reflexd check` reads them too.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, Callable, Mapping, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.backends import GIVEN
from runtime.policy.worker.errors import BackendError, Unavailable, WrongShape

# Of the time after which a worker counts as hung: the backend's own deadline when none is given, and the longest.
_DEADLINE = 0.75
_DEADLINE_MAX = 0.8

_SHARED = ("url", "ca", "deadline", "keys", "prompt", "actions", "columns")


class WrongOptions(BackendError):
    """Options of a remote backend are wrong: all that are, with what was found and what was expected."""

    def __init__(self, backend: str, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        """By the name of the option."""
        told = "; ".join(f"options.{key}: {problem}" for key, problem in problems.items())
        super().__init__(f"backend {backend}: {told}")


class Kind(NamedTuple):
    """What is particular about the options of one backend."""

    plain: str
    """Scheme of an URL without encryption."""
    encrypted: str
    """Scheme of an URL with TLS."""
    port: int
    """The server's usual port."""
    prompt: str
    """The server's usual name for the prompt."""
    actions: str
    """The server's usual name for the actions."""
    needed: tuple[str, ...] = ()
    """Texts that it needs beside the shared options."""
    more: tuple[str, ...] = ()
    """Texts that it may have beside them."""
    only: tuple[str, str] | None = None
    """Name of the vector that the server needs, and the beginning of those of pictures: it takes nothing else."""


KINDS: dict[str, Kind] = {
    "openpi": Kind("ws", "wss", 8000, "prompt", "actions"),
    "lerobot": Kind(
        "grpc",
        "grpcs",
        8080,
        "task",
        "actions",
        needed=("policy", "type", "device"),
        only=("observation.state", "observation.images."),
    ),
    "triton": Kind("grpc", "grpcs", 8001, "", "", needed=("model",), more=("version",)),
}


class Part(NamedTuple):
    """Some values of the observation, or a picture."""

    start: int = 0
    stop: int = 0
    """The first value, and the one after the last."""
    picture: str = ""
    """Which picture, by its `input` in the observation; empty for values."""
    size: tuple[int, int] | None = None
    """Height and width that it is made to fit into; None: it stays as it is."""
    quality: int | None = None
    """It goes as a JPEG of this quality; None: as an array."""


@dataclass(frozen=True)
class RemoteOptions:
    """The shared options of a remote backend, checked."""

    url: str
    host: str
    port: int
    encrypted: bool
    """TLS."""
    ca: str
    """PEM file of the authority that signed the server's certificate; "": those that the system trusts."""
    deadline_s: float
    """Longest time for one question, s."""
    keys: Mapping[str, Part]
    """Parts of the observation by the server's names."""
    prompt: str
    """The server's name for the prompt; "": it is not told."""
    actions: str
    """The server's name for the actions."""
    columns: tuple[int, int] | None
    """Of the values of the server's actions the first, and the one after the last; None: all."""

    @property
    def address(self) -> str:
        """Host and port as gRPC wants them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def chunk(self, actions: object) -> npt.NDArray[Any]:
        """The server's actions, cut to the columns: finite numbers. Raises WrongShape, or Unavailable for NaN."""
        if not isinstance(actions, np.ndarray) or actions.dtype.kind not in "fiu" or actions.ndim == 0:
            found = f"{actions.dtype}" if isinstance(actions, np.ndarray) else type(actions).__name__
            raise WrongShape(f"{self.url}: found actions of type {found}, expected an array of numbers")
        if self.columns is not None:
            start, stop = self.columns
            if stop > actions.shape[-1]:
                raise WrongShape(
                    f"options.columns: found {start} to {stop}, but an action from {self.url} has "
                    f"{actions.shape[-1]} values"
                )
            actions = actions[..., start:stop]
        if not np.isfinite(actions).all():
            raise Unavailable(f"{self.url}: its actions are not finite")
        return actions


def read(name: str, options: Mapping[str, Any]) -> RemoteOptions:
    """The shared options of the backend called `name`. Raises WrongOptions with all mistakes at once."""
    kind = KINDS[name]
    problems: dict[str, str] = {}

    def take(key: str, default: Any, right: Callable[[Any], bool], expected: str) -> Any:
        value = options.get(key, default)
        if right(value):
            return value
        found = json.dumps(value, default=str) if key in options else "nothing"
        problems[key] = f"found {found}, expected {expected}"
        return default

    known = (*_SHARED, *kind.needed, *kind.more)
    for key in sorted(set(options) - {*GIVEN, *known}):
        problems[key] = f"found an unknown option, expected one of {', '.join(known)}"
    url = take(
        "url", "", lambda value: _is_url(value, kind), f"{kind.plain}://HOST:PORT or {kind.encrypted}://..."
    )
    longest_s = _DEADLINE_MAX * options["timeout"]
    deadline_s = take(
        "deadline",
        _DEADLINE * options["timeout"],
        lambda value: _is_number(value) and 0 < value <= longest_s,
        f"seconds, at most {longest_s:g}: {_DEADLINE_MAX:.0%} of policy.timeout",
    )
    keys = take(
        "keys",
        {},
        lambda value: isinstance(value, dict) and bool(value) and all(_part(each) for each in value.values()),
        'the server\'s names and their values in the observation, as { "state" = [0, 7] }; a picture, by its '
        'name there, as { "image" = { picture = "front", size = [224, 224], quality = 90 } }',
    )
    if kind.only and "keys" not in problems and not _fit(keys, *kind.only):
        vector, picture = kind.only
        problems["keys"] = (
            f"found {', '.join(keys)}, expected {vector} and pictures called {picture}NAME with size and without "
            "quality: the server takes nothing else"
        )
    columns = take(
        "columns",
        None,
        lambda value: value is None or _is_range(value),
        "the first value and the one after the last, as [0, 7]",
    )
    prompt, actions = (
        take(key, default, lambda value: isinstance(value, str), "a text")
        for key, default in (("prompt", kind.prompt), ("actions", kind.actions))
    )
    ca = take(
        "ca",
        "",
        lambda value: value == "" or (isinstance(value, str) and os.path.isfile(value)),
        "the whole path of a PEM file that is there",
    )
    for key in kind.more:
        take(key, "", lambda value: isinstance(value, str), "a text")
    for key in kind.needed:
        take(key, "", lambda value: isinstance(value, str) and value != "", "a text")
    if problems:
        raise WrongOptions(name, problems)
    parts = urlsplit(url)
    return RemoteOptions(
        url=url,
        host=parts.hostname or "",
        port=parts.port or kind.port,
        encrypted=parts.scheme == kind.encrypted,
        ca=ca,
        deadline_s=float(deadline_s),
        keys={key: part for key, value in keys.items() if (part := _part(value))},
        prompt=prompt,
        actions=actions,
        columns=None if columns is None else (columns[0], columns[1]),
    )


def _part(value: Any) -> Part | None:
    """None where it is none."""
    if _is_range(value):
        return Part(value[0], value[1])
    if not isinstance(value, dict) or set(value) - {"picture", "size", "quality"}:
        return None
    picked: Any = [value.get(key) for key in ("picture", "size", "quality")]
    picture, size, quality = picked
    if not isinstance(picture, str) or not picture or not (size is None or _are_sizes(size, 2)):
        return None
    if quality is not None and not (_is_whole(quality) and 1 <= quality <= 95):
        return None
    return Part(picture=picture, size=None if size is None else (size[0], size[1]), quality=quality)


def _fit(keys: Mapping[str, Any], vector: str, picture: str) -> bool:
    """Whether they are what `Kind.only` says."""
    parts = {name: part for name, value in keys.items() if (part := _part(value))}
    pictures = {name: part for name, part in parts.items() if part.picture and part.size and part.quality is None}
    return set(parts) - set(pictures) == {vector} and all(name.startswith(picture) for name in pictures)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or isinstance(value, float)


def _are_sizes(value: Any, count: int) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == count and all(_is_whole(x) and x > 0 for x in value)


def _is_range(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(_is_whole(each) for each in value):
        return False
    return bool(0 <= value[0] < value[1])


def _is_url(value: object, kind: Kind) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    secret = parts.username is not None or parts.password is not None
    return parts.scheme in (kind.plain, kind.encrypted) and bool(parts.hostname) and port != 0 and not secret
