"""The task in force: how it is chosen, how the observation shows it, and who is told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from drivers.state import JointState
from runtime.policy.errors import TermsError
from runtime.policy.tasks import PROMPT_MAX, Task, TaskError, Tasks, prompt_problem
from runtime.policy.terms import ObservationBuilder, ObservationTerm

PICK, PLACE, WAVE = Task("pick", 3.0, "pick the cube"), Task("place", 5.0, "place it"), Task("wave", None, "wave")


def shown(tasks, *sources):
    """The observation of the task in force."""
    terms = [ObservationTerm(source=source) for source in sources]
    builder = ObservationBuilder(terms, ["a"], [], ["vx"], 1, tasks)
    out = np.zeros(builder.size, np.float32)
    assert builder.build(out, JointState(1), np.zeros(1), np.zeros(1))
    return out.tolist()


def problems(tasks, *sources):
    with pytest.raises(TermsError) as caught:
        shown(tasks, *sources)
    return caught.value.problems


def test_the_first_one_is_in_force_unless_another_is_named():
    assert Tasks([PICK, PLACE]).now == PICK
    assert Tasks([PICK, PLACE], "place").now == PLACE
    assert Tasks().now == Task()


def test_the_observation_shows_it():
    tasks = Tasks([PICK, PLACE])
    assert shown(tasks, "task", "command", "task.one_hot") == [3.0, 0.0, 1.0, 0.0]
    assert tasks.choose("place")
    assert shown(tasks, "task", "command", "task.one_hot") == [5.0, 0.0, 0.0, 1.0]


def test_a_number_is_scaled_like_any_other():
    term = ObservationTerm(source="task", offset=1.0, scale=0.5)
    builder = ObservationBuilder([term], ["a"], [], [], 1, Tasks([PLACE]))
    out = np.zeros(1, np.float32)
    assert builder.build(out, JointState(1), np.zeros(0), np.zeros(1))
    assert out[0] == 2.0


def test_one_hot_needs_no_ids():
    assert shown(Tasks([PICK, WAVE], "wave"), "task.one_hot") == [0.0, 1.0]


def test_what_cannot_be_shown():
    words = "observation term 1 (task): "
    assert problems(Tasks(), "task") == (f"{words}the policy has no tasks; add [policy.task.NAME]",)
    assert problems(Tasks(), "task.one_hot")
    assert problems(Tasks([PICK, WAVE]), "task") == (f"{words}no id in task wave; give each task one",)
    for source in ("task", "task.one_hot"):
        (problem,) = problems(Tasks([PICK], any_prompt=True), source)
        assert "it cannot show a prompt of the operator's own words" in problem


def test_whether_the_observation_shows_it():
    terms = [ObservationTerm(source="joint.position")]
    assert not ObservationBuilder(terms, ["a"], [], [], 1, Tasks([PICK])).shows_task
    terms.append(ObservationTerm(source="task.one_hot"))
    assert ObservationBuilder(terms, ["a"], [], [], 1, Tasks([PICK])).shows_task


def test_everybody_who_follows_is_told_at_once_and_at_every_change():
    tasks, first, second = Tasks([PICK, PLACE], any_prompt=True), [], []
    tasks.follow(first.append)
    assert tasks.choose("place")
    tasks.follow(second.append)
    assert not tasks.choose("place"), "nothing has changed"
    assert tasks.say("fold the towel")
    assert first == ["pick the cube", "place it", "fold the towel"]
    assert second == ["place it", "fold the towel"]
    assert tasks.now == Task(prompt="fold the towel")
    assert math.isnan(tasks.values[0])
    assert tasks.values[1:].tolist() == [0.0, 0.0]


def test_number_and_words_change_together():
    tasks = Tasks([PICK, PLACE])
    seen = []
    tasks.follow(lambda prompt: seen.append((prompt, tasks.now, *tasks.values.tolist())))
    tasks.choose("place")
    assert seen[-1] == ("place it", PLACE, 5.0, 0.0, 1.0)


def test_an_unknown_one_changes_nothing():
    tasks = Tasks([PICK, PLACE], "place")
    with pytest.raises(TaskError, match="unknown task 'fly'; known: pick, place"):
        tasks.choose("fly")
    with pytest.raises(TaskError, match=r"the config has no \[policy\.task\.NAME\]"):
        Tasks().choose("pick")
    with pytest.raises(TaskError, match=r"needs policy\.any_prompt"):
        tasks.say("fly")
    assert tasks.now == PLACE


@pytest.mark.parametrize("prompt", ["", "  ", "x" * (PROMPT_MAX + 1), "two\nlines", "\x1b[2J", "\udcff"])
def test_what_is_no_prompt(prompt):
    assert prompt_problem(prompt)
    with pytest.raises(TaskError):
        Tasks([PICK], any_prompt=True).say(prompt)


def test_what_is_a_prompt():
    for prompt in ("a", "Räum den Tisch ab!", "x" * PROMPT_MAX):
        assert not prompt_problem(prompt)


def test_a_reload_keeps_the_one_in_force():
    tasks, told = Tasks([PICK, PLACE], "place", any_prompt=True), []
    tasks.follow(told.append)
    tasks.replace([PICK, Task("place", 6.0, "place it gently")])
    assert tasks.now.prompt == told[-1] == "place it gently"
    assert tasks.values.tolist() == [6.0, 0.0, 1.0]
    tasks.replace([Task("pick", 4.0, "pick"), tasks.now])
    assert told == ["place it", "place it gently"], "its own words are the same"
    assert tasks.values.tolist() == [6.0, 0.0, 1.0]
    tasks.say("fold the towel")
    tasks.replace([PICK, PLACE])
    assert tasks.now.prompt == "fold the towel"
    tasks.choose("pick")
    assert tasks.values.tolist() == [3.0, 1.0, 0.0]
