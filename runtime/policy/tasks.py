"""Tasks: what the operator wants of a policy that can do several things."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.state import Floats

PROMPT_MAX = 1000
"""Characters of a prompt; as UTF-8 it fits into every message that carries it."""


class TaskError(ValueError):
    """A task that does not exist, or a prompt that may not be given. Nothing has changed."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task: how it is called, and how the policy is told of it."""

    name: str = ""
    """Empty: a prompt of the operator's own words, or a policy without tasks."""
    id: float | None = None
    """What the observation says (source `task`), in the unit that the policy was trained with."""
    prompt: str = ""
    """What the backend is told."""

    def __str__(self) -> str:
        return self.name or f'"{self.prompt}"'

    def as_dict(self) -> dict[str, Any]:
        """What the control socket says of it."""
        return {"name": self.name or None, "id": self.id, "prompt": self.prompt or None}

    def recorded(self) -> dict[str, Any]:
        """What a recording says of it."""
        known = {} if self.id is None else {"task_id": self.id}
        return {"task": self.name, "prompt": self.prompt, **known}


class Tasks:
    """The tasks that there are, and the one in force: the next request to the policy is for it.

    Its number and its prompt change in one step, between two requests, so no chunk is asked for half a task.
    """

    def __init__(self, tasks: Sequence[Task] = (), first: str | None = None, any_prompt: bool = False) -> None:
        """`first`: name of the task in force at the start; left out, it is the first one.

        `any_prompt`: the operator may use words of their own.
        """
        self.all = tuple(tasks)
        self.any_prompt = any_prompt
        self.now = Task()
        self.values: Floats = np.full(1 + len(self.all), math.nan)
        """For the observation, shape (1 + tasks,): the id of the task in force, NaN where it has none; then 1 for
        this task and 0 for the others, in the order of `all`."""
        self._followers: list[Callable[[str], None]] = []
        if self.all:
            self._set(self._named(first) if first is not None else self.all[0])

    def follow(self, set_prompt: Callable[[str], None]) -> None:
        """Have `set_prompt` called with the prompt in force, now and at every change."""
        self._followers.append(set_prompt)
        set_prompt(self.now.prompt)

    def choose(self, name: str) -> bool:
        """Put the task `name` in force. False when it was already. Raises TaskError."""
        return self._set(self._named(name))

    def say(self, prompt: str) -> bool:
        """Put a prompt of the operator's own words in force. False when it was already. Raises TaskError."""
        if not self.any_prompt:
            raise TaskError("a prompt of one's own needs policy.any_prompt = true in the config")
        if problem := prompt_problem(prompt):
            raise TaskError(problem)
        return self._set(Task(prompt=prompt))

    def replace(self, tasks: Sequence[Task]) -> None:
        """Other ids and prompts for the same tasks, in force from the next request on."""
        self.all = tuple(tasks)
        if self.now.name:
            self._set(self._named(self.now.name))

    def _named(self, name: str) -> Task:
        for task in self.all:
            if task.name == name:
                return task
        known = ", ".join(task.name for task in self.all) or "none: the config has no [policy.task.NAME]"
        raise TaskError(f"unknown task {name!r}; known: {known}")

    def _set(self, task: Task) -> bool:
        if task == self.now:
            return False
        self.now = task
        self.values[0] = math.nan if task.id is None else task.id
        self.values[1:] = [task == each for each in self.all]
        for set_prompt in self._followers:
            set_prompt(task.prompt)
        return True


def prompt_problem(prompt: str) -> str:
    """Why this is no prompt: what was found, what is expected; empty when it is one."""
    if not prompt.strip() or len(prompt) > PROMPT_MAX:
        return f"found a prompt of {len(prompt)} characters, expected words, at most {PROMPT_MAX} characters"
    if not prompt.isprintable():
        return "found a prompt with control characters, expected one line of text"
    return ""
