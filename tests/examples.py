"""How many examples a hypothesis test tries: a multiple of what the profile in force has."""

from __future__ import annotations

from hypothesis import settings


def times(factor: float) -> settings:
    """Try `factor` as many examples as the profile says: 100 in `make test`, few in `make mutants`."""
    return settings(max_examples=max(1, round(factor * settings.default.max_examples)))
