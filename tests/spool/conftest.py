from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runtime.spool.keeper import Keeper


@pytest.fixture(autouse=True)
def _close_keepers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what each test has made: an index that is left to the garbage collector is a warning."""
    made: list[Keeper] = []
    make = Keeper.__init__

    def note(self: Keeper, *args: Any) -> None:
        make(self, *args)
        made.append(self)

    monkeypatch.setattr(Keeper, "__init__", note)
    yield
    for keeper in made:
        keeper.close()
