from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.emulated.bench import Bench, connect


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make_bench(**more: Any) -> Bench:
        benches.append(Bench(tmp_path, **more))
        return benches[-1]

    yield make_bench
    for bench in benches:
        bench.robot.close()
    assert list(tmp_path.glob("*.sock")) == []
    assert not (tmp_path / "port").is_symlink()


@pytest.fixture
def bench(make: Callable[..., Bench]) -> Bench:
    return make()


@pytest.fixture
def host(bench: Bench) -> Iterator[socket.socket]:
    with connect(bench) as client:
        yield client
