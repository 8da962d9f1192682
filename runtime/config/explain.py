"""Validation of one section, with pydantic's findings put into words: found, expected, what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from drivers.joint import Options
from runtime.config.field_docs import field_docs
from runtime.config.paths import Place, Report
from runtime.config.words import NAME_PATTERN, found, meaning, members, one_of, type_words, unknown_key

Model = TypeVar("Model", bound=Options)

_KINDS = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "path_type": "a path in quotes",
    "tuple_type": "a list in square brackets",
    "list_type": "a list in square brackets",
    "dict_type": "a table",
    "model_type": "a table",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("of at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("of at most", "le"),
}


def validate(model: type[Model], table: Mapping[str, Any], place: Place, report: Report) -> Model | None:
    """The table at `place` as its model; None, with every mistake reported, when it is not valid.

    TOML and JSON have the same types, and pydantic's strict JSON mode is what a config wants: a list is a
    tuple and a string a path, but "1" and true are not numbers.
    """
    try:
        return model.model_validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        details = error.errors(include_url=False)
        findings = [_explain(model, table, detail) for detail in details if not _follows_from(detail, details)]
    for within, text in dict.fromkeys(findings):
        report((*place, *within), text)
    return None


def _explain(model: type[BaseModel], table: Mapping[str, Any], detail: Any) -> tuple[Place, str]:
    """One finding of pydantic: the place within the model, and what is wrong there."""
    kind, value, context = detail["type"], found(detail["input"]), detail.get("ctx", {})
    place, holder, doc, choice = _follow(model, detail["loc"])
    if choice is not None:
        kinds = type_words(choice).replace(" or ", " or a ")
        return (
            place,
            f"found {found(_value_at(table, place))}, expected a {kinds}{meaning(doc)}; change it",
        )
    match kind:
        case "missing":
            return place, f"found nothing, expected a value{meaning(doc)}; add it"
        case "extra_forbidden":
            return place, unknown_key(str(place[-1]), holder.model_fields if holder else ())
        case "union_tag_not_found":
            return (*place, "type"), "found nothing, expected a type; add it"
        case "union_tag_invalid":
            tags = re.findall(r"'([^']*)'", context["expected_tags"])
            return (*place, "type"), f"found {found(context['tag'])}, expected {one_of(tags)}; write one of these"
        case "literal_error":
            expected = context["expected"].replace("'", '"')
            return place, f"found {value}, expected {expected}; write one of these"
        case "string_pattern_mismatch" if context["pattern"] == NAME_PATTERN:
            return place, f"found {value}, expected a name: letters, digits and _, a letter first; change it"
        case "too_short" | "string_too_short":
            thing = "character" if kind == "string_too_short" else "entry"
            return (
                place,
                f"found {value}, expected at least {context['min_length']} {thing}{meaning(doc)}; add it",
            )
        case "value_error" | "assertion_error":
            return place, str(context["error"])
        case _ if kind in _BOUNDS:
            words, bound = _BOUNDS[kind]
            return place, f"found {value}, expected a number {words} {context[bound]:g}{meaning(doc)}; change it"
        case _ if kind in _KINDS:
            return place, f"found {value}, expected {_KINDS[kind]}{meaning(doc)}; change it"
    return place, f"found {value}; {detail['msg'][:1].lower()}{detail['msg'][1:]}{meaning(doc)}; change it"


def _follows_from(detail: Any, details: Sequence[Any]) -> bool:
    """Whether a list is too short only because the entries that it has are wrong."""
    loc = detail["loc"]
    return detail["type"] == "too_short" and any(d["loc"][: len(loc)] == loc and d is not detail for d in details)


def _value_at(table: Any, place: Place) -> Any:
    for part in place:
        table = table[part]
    return table


def _follow(model: type[BaseModel], loc: Place) -> tuple[Place, type[BaseModel] | None, str, Any | None]:
    """Walk pydantic's `loc` through the models.

    Returns the place in the TOML, the model it is in, what is written below its field there, and the whole
    annotation when the place may hold values of several kinds (pydantic then has one finding for each kind).
    """
    place: list[str | int] = []
    holder: type[BaseModel] | None = model
    doc = ""
    annotation: Any = model
    for part in loc:
        kinds = members(annotation)
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if part == "[key]" and not models:  # pydantic's way to say that a key of a table is wrong
            break
        if len(kinds) > 1:
            chosen = [
                m
                for m in models
                if "type" in m.model_fields and part in get_args(m.model_fields["type"].annotation)
            ]
            if not chosen:
                return tuple(place), holder, doc, annotation
            annotation = chosen[0]
            continue
        place.append(part)
        if models:
            holder = models[0]
            field = holder.model_fields.get(str(part))
            doc = field_docs(holder).get(str(part), "")
            annotation = field.annotation if field is not None else None
        else:
            arguments = [argument for argument in get_args(kinds[0]) if argument is not Ellipsis]
            annotation = arguments[-1] if arguments else None
    return tuple(place), holder, doc, None
