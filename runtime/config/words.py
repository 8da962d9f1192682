"""Values, types and names of a config in words for people."""

from __future__ import annotations

import difflib
import json
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_]*$"
"""The pattern of `drivers.joint.Name`."""

_TYPES: Mapping[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    Any: "value",
}


def found(value: Any) -> str:
    """A value as the TOML file has it, shortened."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return json.dumps(value if len(value) <= 60 else f"{value[:57]}...", ensure_ascii=False)
        case Mapping():
            return "a table" if value else "an empty table"
        case Sequence():
            return f"a list of {len(value)}" if value else "an empty list"
    return f"{value}"


def one_of(names: Iterable[str]) -> str:
    """`"a"`, `"a" or "b"`, `"a", "b" or "c"`."""
    *most, last = [found(name) for name in names] or ["nothing, because there is none"]
    return f"{', '.join(most)} or {last}" if most else last


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was most likely meant; None when none is near."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    match = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[match[0]] if match else None


def meant(name: str, known: Iterable[str], otherwise: str) -> str:
    """What to do about an unknown name: the nearest known one, else `otherwise`."""
    candidate = nearest(name, known)
    return f'did you mean "{candidate}"?' if candidate else otherwise


def unknown_key(name: str, known: Iterable[str]) -> str:
    """The mistake of a key that no model has."""
    known = list(known)
    return f"found an unknown key, expected {one_of(known)}; {meant(name, known, 'remove it')}"


def meaning(doc: str) -> str:
    """The beginning of a field's documentation in brackets; "" when there is none."""
    if not doc:
        return ""
    text = re.split(r"[.:;] ", " ".join(doc.split()))[0].rstrip(".")
    return f" ({text[0].lower()}{text[1:]})" if text[1:2].islower() else f" ({text})"


def members(annotation: Any) -> list[Any]:
    """What an annotation may be, without None and without constraints."""
    if get_origin(annotation) is Annotated:
        return members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return [m for a in get_args(annotation) if a is not type(None) for m in members(a)]
    return [annotation]


def type_words(annotation: Any) -> str:
    """A type as a person calls it: `number or list of numbers`."""
    words = []
    for member in members(annotation):
        origin, arguments = get_origin(member), [a for a in get_args(member) if a is not Ellipsis]
        if origin is Literal:
            words += [found(value) for value in arguments]
        elif origin in (list, tuple):
            words.append(f"list of {_plural(type_words(arguments[0]))}")
        elif origin is dict:
            words.append(f"table of {_plural(type_words(arguments[1]))}")
        elif isinstance(member, type) and issubclass(member, BaseModel):
            words.append("table")
        else:
            words.append(_TYPES.get(member, str(member)))
    return " or ".join(dict.fromkeys(words))


def _plural(words: str) -> str:
    return words if words.endswith(("s", '"')) or " or " in words else f"{words}s"
