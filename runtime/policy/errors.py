"""All errors that the policy side raises."""

from __future__ import annotations

from collections.abc import Sequence


class PolicyError(Exception):
    """The policy cannot be started or used: what was found, what was expected, what to do."""


class TermsError(PolicyError, ValueError):
    """Observation or action terms do not fit the robot. Lists every problem at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))
