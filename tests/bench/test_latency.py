"""The harness of `make bench-latency`: its time, its mechanisms, its figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco")

from configs.demo.expert import HORIZON
from configs.demo.mechanisms import ACTION_NS, Hidden, Inline
from configs.demo.rollout import TICK_NS, Mechanism, Seen, run
from tests.bench.latency import cells, plot
from tests.bench.latency.__main__ import tables
from tests.bench.latency.peers.process import PeerProcess, interpreter, peer_process
from tests.bench.latency.proxy import RTO_S, Network, Proxy
from tests.bench.latency.steps import LerobotAverage, LerobotQueue, OpenpiBroker, WaitForChunk

DELAY_NS = 5 * TICK_NS
EXECUTE = 12


def count(observation: Any) -> Any:
    """A chunk whose action i is the position that is observed and i."""
    return observation[0] + np.repeat(np.arange(HORIZON, dtype=float)[:, None], 7, axis=1)


def drive(mechanism: Mechanism, ticks: int) -> list[float | None]:
    """The goal of each tick, None while there is none; what is observed is how many actions ago the run began."""
    goals: list[float | None] = []
    goal = np.zeros(7)
    for tick in range(ticks):
        now_ns = tick * TICK_NS
        seen = Seen(np.full(7, now_ns / ACTION_NS), np.zeros(7), np.zeros(7))
        planned = mechanism.tick(now_ns, seen, goal.copy(), goal)
        goals.append(float(goal[0]) if planned else None)
    return goals


def peer(name: str) -> PeerProcess:
    if not interpreter(name).exists():
        pytest.skip(f".venv-peers-{name} is not there: `make test-peers` makes it")
    return peer_process(name)


def test_hidden_executes_every_action_at_its_time() -> None:
    goals = drive(Hidden(count, lambda: DELAY_NS, EXECUTE), 200)
    assert goals[:5] == [None] * 5
    # It stood still before, so that the first chunk counts from its arrival.
    assert goals[5:24] == pytest.approx(np.arange(19) / 2)
    # All later ones count from their observation, and say the same as what they replace: the time that has passed.
    assert goals[60:] == pytest.approx(np.arange(60, 200) / 2)


def test_inline_holds_while_it_thinks_and_begins_anew() -> None:
    goals = drive(Inline(count, lambda: DELAY_NS, EXECUTE), 60)
    assert goals[:5] == [None] * 5
    assert goals[5:29] == pytest.approx(np.arange(24) / 2)
    assert goals[29:34] == [None] * 5
    # Seen 29 ticks after the beginning, executed from its first action on.
    assert goals[34:58] == pytest.approx(14.5 + np.arange(24) / 2)


def test_waiting_for_a_chunk_holds_each_action_for_a_step() -> None:
    goals = drive(WaitForChunk(count, lambda: DELAY_NS, EXECUTE), 58)
    assert goals[:5] == [None] * 5
    assert goals[5:29] == pytest.approx(np.arange(24) // 2)
    assert goals[29:34] == [None] * 5
    assert goals[34:58] == pytest.approx(14.5 + np.arange(24) // 2)


def test_openpis_broker_does_just_that() -> None:
    theirs = drive(OpenpiBroker(count, lambda: DELAY_NS, EXECUTE, peer("openpi")), 200)
    assert theirs == drive(WaitForChunk(count, lambda: DELAY_NS, EXECUTE), 200)


def test_lerobots_queue_goes_on_with_the_action_that_is_due() -> None:
    mechanism = LerobotQueue(count, lambda: 2 * ACTION_NS, EXECUTE, peer("lerobot"))
    goals = drive(mechanism, 200)
    # Once it runs, chunks say the time that has passed since the beginning, as here.
    assert goals[100:] == pytest.approx(np.arange(100, 200) // 2, abs=1.0)
    assert len(mechanism.seams) > 5


def test_lerobots_average_takes_seven_tenths_of_the_new_chunk() -> None:
    chunks = iter([0.0, 1.0, 1.0])

    def disagree(_: Any) -> Any:
        return np.full((HORIZON, 7), next(chunks, 1.0))

    mechanism = LerobotAverage(disagree, lambda: 2 * ACTION_NS, EXECUTE, peer("lerobot"))
    drive(mechanism, 200)
    assert mechanism.seams[0] == pytest.approx(0.7)


@pytest.mark.parametrize("kind", ["inline", "replace"])
def test_the_same_seed_is_the_same_run(kind: str) -> None:
    policy = cells.Model(cells.load(cells.CONFIG))

    def once(seed: int) -> Any:
        mechanism = cells.KINDS[kind].make(policy, cells.delays(0.2, seed), EXECUTE)
        return np.array(run(mechanism, seed, limit=4.0).velocities)

    assert (once(3) == once(3)).all()
    assert (once(3) != once(4)).any()


def test_every_kind_waits_equally_long() -> None:
    def some(delay: Callable[[], int]) -> list[int]:
        return [delay() for _ in range(100)]

    assert some(cells.delays(0.2, 1)) == some(cells.delays(0.2, 1))
    assert min(some(cells.delays(0.2, 1))) >= 160_000_000
    assert max(some(cells.delays(0.2, 1))) <= 240_000_000
    assert some(cells.delays(0.0, 1)) == [0] * 100


def test_wilsons_interval() -> None:
    # Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert cells.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert cells.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def _measured(kind: str, latency: float, in_bin: int) -> list[cells.Measured]:
    return [
        cells.Measured(kind, latency, seed, in_bin, 40.0 + seed, 3, None, 0.01, 0.1, 50.0, 900.0)
        for seed in (0, 1)
    ]


def test_a_cell_counts_cubes_that_never_came_as_lost() -> None:
    cell = cells.summary(_measured("inline", 0.2, 7))
    assert cell["success"] == 0.7
    assert cell["seconds"] == 40.5
    assert (cell["latency_ms"], cell["starved"]) == (200, 3.0)


def test_the_table_has_a_place_for_what_was_not_measured() -> None:
    lines = tables([cells.summary(_measured("inline", 0.2, 7)), cells.summary(_measured("replace", 0.0, 10))])
    assert lines[2] == "| inline |  | 70.0 (48 to 85) |"
    assert lines[3] == "| replace | 100.0 (84 to 100) |  |"


def test_the_picture_is_drawn(tmp_path: Any) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is in the extra `bench`")
    (path,) = plot.draw([cells.summary(_measured("inline", latency, 7)) for latency in (0.0, 0.2)], tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_loss_costs_what_tcp_takes_to_send_again() -> None:
    with Proxy(1, Network(uplink_s=0.1, loss=0.05), seed=1) as proxy:
        late = np.array([proxy._lost_s() for _ in range(20_000)])
    assert (late > 0).mean() == pytest.approx(0.05, abs=0.005)
    assert sorted(set(late.round(6)))[:3] == pytest.approx([0.0, RTO_S + 0.1, 3 * (RTO_S + 0.1)])
