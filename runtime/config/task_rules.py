"""What must hold of the tasks of a policy: that they differ, and that the policy learns of each."""

from __future__ import annotations

from runtime.config.draft import Draft
from runtime.config.words import found, meant, one_of


def apply(draft: Draft) -> None:
    """Report every mistake of the tasks that is no mistake of one observation term."""
    policy = draft.policy
    if policy is None:
        return
    if policy.first_task is not None and policy.first_task not in policy.task:
        advice = meant(policy.first_task, policy.task, f"correct it or add [policy.task.{policy.first_task}]")
        draft.report(
            ("policy", "first_task"),
            f"found {found(policy.first_task)}, expected {one_of(policy.task)}; {advice}",
        )
    if policy.any_prompt and not policy.task:
        draft.report(
            ("policy", "any_prompt"),
            "found true, but no task that is in force until somebody says otherwise; add [policy.task.NAME]",
        )
    shown = any(term.shows_task for term in policy.observation)
    owner: dict[float, str] = {}
    for name, task in policy.task.items():
        if task.id is not None and owner.setdefault(task.id, name) != name:
            draft.report(
                ("policy", "task", name, "id"),
                f"found {task.id:g}, which task {owner[task.id]} has already, expected another one; change it",
            )
        if task.prompt is None and not shown:
            draft.report(
                ("policy", "task", name, "prompt"),
                "found nothing, and the policy would never learn of this task; add a prompt, or an observation "
                'with source = "task" or "task.one_hot"',
            )
