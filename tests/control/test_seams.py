"""The seams by themselves: what each makes of two chunks that disagree."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.joint import Joint
from drivers.state import Floats
from runtime.control.seams.strategy import Name, strategy
from runtime.control.timeline import Timeline
from runtime.control.track import Mask, Track
from safety.envelope import Envelope

P = 20_000_000
TICK = 10_000_000
H = 50


def line(start: float, speed: float, joints: int = 1) -> Floats:
    """A chunk that goes straight on, rad; `speed` in rad/s."""
    return np.tile((start + speed * P / 1e9 * np.arange(H))[:, None], (1, joints))


def executed(
    name: Name, first: Floats, second: Floats, held: Mask | None = None, at: int = 10, ticks: int = 60
) -> Floats:
    """The plan at each tick, with the second chunk laid `at` actions after the first, and that late as well."""
    timeline, out = Timeline(), []
    chosen = strategy(name, 0.2, 0.01)
    timeline.lay(Track(0, P, first, held), 0, chosen)
    for tick in range(ticks):
        if tick == 2 * at:
            timeline.lay(Track(at * P, P, second, held), tick * TICK, chosen)
        goal = np.empty(first.shape[1])
        assert timeline.sample(tick * TICK, goal)
        out.append(goal)
    return np.array(out)


def test_a_disagreement_of_1_rad_is_no_step_and_the_envelope_bounds_what_is_left() -> None:
    """LeRobot's weighted average (0.3 old + 0.7 new) steps by 0.7 rad here; ours by less than a tenth of that."""
    first, second = line(0.0, 0.0), line(1.0, 0.0)
    steps = {name: np.abs(np.diff(executed(name, first, second)[:, 0])) for name in ("replace", "blend", "prefix")}  # type: ignore[arg-type]
    assert steps["replace"].max() == pytest.approx(1.0)
    for name in ("blend", "prefix"):
        assert steps[name][19:21].max() <= 0.0013, "at the seam itself"
        assert executed(name, first, second)[-1] == pytest.approx(1.0)  # type: ignore[arg-type]
    joint = Joint(
        name="a",
        bus="b",
        id=1,
        model="M",
        position_min=-2,
        position_max=2,
        velocity_max=3.0,
        acceleration_max=40.0,
    )
    for name in ("replace", "blend"):
        envelope, sent, command = Envelope([joint], TICK / 1e9), [0.0], np.empty(1)
        envelope.reset(np.zeros(1))
        for goal in executed(name, first, second, ticks=90):  # type: ignore[arg-type]
            envelope.apply(goal, command)
            sent.append(float(command[0]))
        assert sent[-1] == pytest.approx(1.0)
        assert np.abs(np.diff(sent)).max() <= 3.0 * TICK / 1e9 + 1e-12
        assert np.abs(np.diff(sent)).max() < 0.7 / 10
        assert np.abs(np.diff(sent, 2)).max() <= 40.0 * (TICK / 1e9) ** 2 + 1e-12


@given(
    st.floats(-1, 1),
    st.floats(-2, 2),
    st.floats(-1, 1),
    st.floats(-2, 2),
    st.integers(1, 40),
    st.integers(0, P - 1),
)
def test_a_blend_is_continuous_in_position_and_speed_and_then_the_chunk_itself(
    start: float, speed: float, other: float, back: float, at: int, rest_ns: int
) -> None:
    timeline, blend = Timeline(), strategy("blend", 0.2)
    old = Track(0, P, line(start, speed) + 0.1 * np.sin(np.arange(H))[:, None])
    timeline.lay(old, 0, blend)
    now_ns = at * P + rest_ns
    new = Track(at * P, P, line(other, back))
    seam = timeline.lay(new, now_ns, blend)
    assert seam is not None
    assert seam.at_ns == now_ns
    bare = Track(at * P, P, line(other, back))
    assert seam.before_rad == pytest.approx(abs(old.position(now_ns) - bare.position(now_ns))[0])
    assert seam.after_rad < 1e-12
    assert seam.fade_s == 0.2
    joined = timeline.at(now_ns)
    assert joined is not None
    if at * P + rest_ns < 49 * P:
        assert joined.motion(now_ns) == pytest.approx(old.motion(now_ns), abs=1e-9)
    end_ns = now_ns + 200_000_000
    assert joined.motion(end_ns) == pytest.approx(bare.motion(end_ns), abs=1e-9)
    assert joined.motion(end_ns - 1) == pytest.approx(bare.motion(end_ns - 1), abs=1e-6)


def test_a_seam_within_a_blend_begins_where_that_is() -> None:
    timeline, blend = Timeline(), strategy("blend", 0.5)
    goal, last = np.empty(1), None
    for tick in range(200):
        if tick % 10 == 0:
            timeline.lay(Track(tick * TICK, P, line((-1.0) ** (tick // 10), 0.0)), tick * TICK, blend)
        assert timeline.sample(tick * TICK, goal)
        assert last is None or abs(goal[0] - last) < 0.15, "whatever the chunks say"
        last = float(goal[0])


def test_grippers_are_replaced_and_not_smeared() -> None:
    held = np.array([False, True])
    first, second = line(0.0, 0.0, 2), line(1.0, 0.0, 2)
    second[30:, 1] = 0.0
    for name in ("blend", "ensemble", "prefix"):
        plan = executed(name, first, second, held)  # type: ignore[arg-type]
        assert set(plan[:, 1].tolist()) == {0.0, 1.0}, "only values that an action has"
        assert plan[19, 1] == 0.0
        assert plan[20, 1] == 1.0, "at the seam"
        assert 0.0 < plan[25, 0] < 1.0, "the other joint goes over"


@pytest.mark.parametrize("decay", [0.0, 0.01, 0.5])
def test_an_ensemble_is_the_weighted_average_of_act(decay: float) -> None:
    """Against its definition: sum of w_i a_i / sum of w_i over the chunks that have an action, oldest first."""
    rng = np.random.default_rng(1)
    horizon, every = 12, 3
    chunks = [rng.normal(size=(horizon, 2)) for _ in range(8)]
    timeline, chosen = Timeline(), strategy("ensemble", decay=decay)
    for number, chunk in enumerate(chunks):
        timeline.lay(Track(number * every * P, P, chunk), number * every * P, chosen)
        for step in range(number * every, (number + 1) * every):
            goal = np.empty(2)
            assert timeline.sample(step * P, goal)
            rows = [(chunks[i], step - i * every) for i in range(number + 1)]
            known = [chunk[row] for chunk, row in rows if row < horizon]
            weights = [math.exp(-decay * i) for i in range(len(known))]
            assert goal == pytest.approx(np.average(known, axis=0, weights=weights))


def test_an_ensemble_steps_by_the_share_of_the_newest_chunk() -> None:
    timeline, chosen = Timeline(), strategy("ensemble", decay=0.01)
    timeline.lay(Track(0, P, line(0.0, 0.0)), 0, chosen)
    seam = timeline.lay(Track(10 * P, P, line(1.0, 0.0)), 10 * P, chosen)
    assert seam is not None
    assert seam.before_rad == pytest.approx(1.0)
    assert seam.after_rad == pytest.approx(1 / (1 + math.exp(0.01)))
