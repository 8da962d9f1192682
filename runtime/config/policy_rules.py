"""What must hold of a policy: its rates, its files, its commands, and that its terms fit the robot."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from collections.abc import Iterable
from typing import Any

from runtime.config.draft import Draft
from runtime.config.models import Inference, Policy
from runtime.config.paths import CLASS_PATTERN, Place, interpreter
from runtime.config.words import found, meant, one_of
from runtime.policy.errors import TermsError
from runtime.policy.tasks import Tasks
from runtime.policy.terms import ActionMap, ObservationBuilder
from runtime.policy.worker.backends import BUILT_IN, GROUP, REMOTE, built_in, wrong_options
from runtime.policy.worker.remote.options import WrongOptions, read


def apply(draft: Draft) -> None:
    """Report every mistake of the policy, and make its paths absolute."""
    policy = draft.policy
    if policy is None:
        return
    _commands(draft, policy)
    tasks = Tasks(policy.tasks, any_prompt=policy.any_prompt)
    paths = _inference(draft, ("policy",), policy, policy.command, tasks)
    if policy.fallback:
        place: Place = ("policy", "fallback")
        _takeover(draft, policy, policy.fallback.after)
        own = _inference(draft, place, policy.fallback, policy.command, tasks)
        paths["fallback"] = policy.fallback.model_copy(update=own)
    draft.policy = policy.model_copy(update=paths)


def _inference(
    draft: Draft, place: Place, policy: Inference, commands: Iterable[str], tasks: Tasks
) -> dict[str, Any]:
    """Terms, rates, files and the backend. Returns the keys whose paths become absolute."""
    _terms(draft, place, policy, commands, tasks)
    control = draft.control
    if control and policy.rate > control.rate:
        draft.report(
            (*place, "rate"),
            f"found {policy.rate:g}, expected at most control.rate ({control.rate:g} Hz): a tick takes one action "
            "at most; lower it or raise control.rate",
        )
    if policy.interval > policy.horizon:
        draft.report(
            (*place, "execute"),
            f"found {policy.interval}, expected at most policy.horizon ({policy.horizon}); lower it",
        )
    if policy.latency >= policy.timeout:
        draft.report(
            (*place, "latency"),
            f"found {policy.latency:g}, expected less than policy.timeout ({policy.timeout:g} s): every inference "
            "would count as hung; lower it or raise policy.timeout",
        )
    python = policy.python and interpreter(draft.path, policy.python)
    if policy.python and not python:
        draft.report(
            (*place, "python"),
            f"found {found(policy.python)}, which is no program that can be run, expected a Python interpreter; "
            "give its path or a name in PATH",
        )
    _backend(draft, place, policy)
    _pictures(draft, place, policy)
    if policy.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", policy.sha256):
        draft.report(
            (*place, "sha256"),
            f"found {found(policy.sha256)}, expected 64 digits, 0-9 and a-f; copy what `sha256sum` prints",
        )
    if policy.sha256 is not None and policy.model is None:
        draft.report((*place, "sha256"), "found a checksum, expected policy.model beside it; name the file")
    model = draft.existing_file((*place, "model"), policy.model, "the policy's model")
    return {"model": model, "python": python or sys.executable}


def _takeover(draft: Draft, policy: Policy, after: float | None) -> None:
    between = policy.interval / policy.rate
    if after is not None and after <= between:
        draft.report(
            ("policy", "fallback", "after"),
            f"found {after:g}, expected more than {between:g} s, the time between two requests to the first "
            "policy: it would be taken for silent between two answers; raise it",
        )


def _backend(draft: Draft, place: Place, policy: Inference) -> None:
    if policy.backend in REMOTE:
        _remote(draft, place, policy)
        return
    if policy.backend in BUILT_IN:
        backend = built_in(policy.backend)
        if backend.MODEL and policy.model is None:
            draft.report((*place, "model"), f"found nothing, expected {backend.MODEL}; give its path")
        for option, text in wrong_options(policy.options, backend.OPTIONS).items():
            draft.report((*place, "options", option), f"{text}; correct it")
        return
    # Another interpreter has packages of its own: what it offers shows when the worker starts.
    offered = {point.name for point in importlib.metadata.entry_points(group=GROUP)}
    if not CLASS_PATTERN.fullmatch(policy.backend) and policy.backend not in offered and not policy.python:
        known = one_of([*BUILT_IN, *REMOTE, "module:Class", *sorted(offered)])
        draft.report(
            (*place, "backend"),
            f"found {found(policy.backend)}, expected {known}; correct it, or install the package that offers it "
            f"under {GROUP}",
        )


def _remote(draft: Draft, place: Place, policy: Inference) -> None:
    if policy.model is not None:
        path = found(str(policy.model))
        draft.report((*place, "model"), f"found {path}, expected nothing: the server has the model; remove it")
    try:
        read(policy.backend, {**policy.options, "timeout": policy.timeout})
    except WrongOptions as error:
        for key, problem in error.problems.items():
            draft.report((*place, "options", key), f"{problem}; change it")


def _pictures(draft: Draft, place: Place, policy: Inference) -> None:
    """The cameras that it sees are there, and its backend takes pictures."""
    names: dict[str, int] = {}
    for number, term in enumerate(policy.observation):
        here: Place = (*place, "observation", number)
        if term.camera and term.camera not in draft.cameras:
            draft.report(
                (*here, "source"),
                f"found the unknown camera {found(term.camera)}, expected {one_of(draft.cameras)}; "
                f"{meant(term.camera, list(draft.cameras), f'correct it or add [cameras.{term.camera}]')}",
            )
        if not term.is_picture:
            continue
        name = term.input or term.camera
        if names.setdefault(name, number) != number:
            draft.report(
                (*here, "input"),
                f"found {found(name)}, which observation[{names[name]}] has already, expected a name of its own; "
                "one input takes one picture",
            )
        if (policy.backend in BUILT_IN or policy.backend in REMOTE) and not hasattr(
            built_in(policy.backend), "see"
        ):
            takers = [each for each in (*BUILT_IN, *REMOTE) if hasattr(built_in(each), "see")]
            draft.report(
                here,
                f"found a picture, but the backend {policy.backend} takes none; expected one of {one_of(takers)}",
            )
    if policy.backend in REMOTE:
        _sent(draft, place, policy, names)


def _sent(draft: Draft, place: Place, policy: Inference, names: Iterable[str]) -> None:
    """What `keys` sends of the pictures is there."""
    try:
        keys = read(policy.backend, {**policy.options, "timeout": policy.timeout}).keys
    except WrongOptions:
        return  # told already
    for key, part in keys.items():
        if part.picture and part.picture not in names:
            draft.report(
                (*place, "options", "keys"),
                f"{key}: found the picture {found(part.picture)}, expected {one_of(names)}: the `input` of "
                "a term, or its camera; correct it",
            )


def _commands(draft: Draft, policy: Policy) -> None:
    earlier = -1.0
    for number, step in enumerate(policy.schedule):
        place: Place = ("policy", "schedule", number)
        if step.at <= earlier:
            draft.report(
                (*place, "at"),
                f"found {step.at:g}, expected more than {earlier:g}, the step before; sort the steps",
            )
        earlier = step.at
        for name, value in step.set.items():
            command = policy.command.get(name)
            if command is None:
                draft.report(
                    (*place, "set", name),
                    f"found an unknown command, expected {one_of(policy.command)}; correct it or add "
                    f"[policy.command.{name}]",
                )
            elif not command.min <= value <= command.max:
                draft.report(
                    (*place, "set", name),
                    f"found {value:g}, expected {command.min:g} ... {command.max:g}, its range; change it",
                )


def _terms(draft: Draft, place: Place, policy: Inference, commands: Iterable[str], tasks: Tasks) -> None:
    """The names in observations and actions, and how long their lists are."""
    if None in draft.joints or None in draft.sensors or not draft.joints:
        return
    joints = [joint.name for joint in draft.joints if joint]
    sensors = [plan.driver(plan.options) for plan in draft.sensors if plan]
    size = sum(len(joints if term.joints is None else term.joints) for term in policy.action)
    try:
        ActionMap(policy.action, joints)
    except TermsError as error:
        _report_terms(draft, place, "action", error)
    try:
        ObservationBuilder(policy.observation, joints, sensors, list(commands), size, tasks)
    except TermsError as error:
        _report_terms(draft, place, "observation", error)


def _report_terms(draft: Draft, policy: Place, key: str, error: TermsError) -> None:
    for problem in error.problems:
        # "observation term 2 (joint.position): ..." counts from 1.
        term = re.match(rf"{key} term (\d+) \((.*?)\): ", problem)
        place: Place = (*policy, key, int(term[1]) - 1) if term else (*policy, key)
        draft.report(place, f"{term[2]}: {problem[term.end() :]}" if term else problem)
