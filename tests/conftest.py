from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings

# How fast the machine is decides nothing.
settings.register_profile("reflexd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# For `make mutants`: the same examples in every run, and no search for a smaller one.
settings.register_profile(
    "mutants",
    settings.get_profile("reflexd"),
    max_examples=10,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)
settings.load_profile("reflexd")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real robots run one after the other: each wants a CPU. Groups begin first: they are what takes longest."""
    for item in items:
        if item.get_closest_marker("system"):
            item.add_marker(pytest.mark.xdist_group("system"))
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
