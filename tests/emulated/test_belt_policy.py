"""The shipped policy does the demo's task with latency hidden, and fails when its latency is not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
POLICY = ROOT / "configs" / "demo" / "policy.onnx"
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module", autouse=True)
def demo_on_the_path() -> None:
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


def test_the_file_takes_one_observation_and_gives_one_chunk() -> None:
    session = onnxruntime.InferenceSession(str(POLICY))
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("observation", "tensor(float)", [1, 28])
    assert (found.name, found.type, found.shape) == ("actions", "tensor(float)", [1, 50, 7])
    assert POLICY.stat().st_size < 3e6
    chunk = session.run(None, {"observation": np.zeros((1, 28), np.float32)})[0]
    assert np.isfinite(chunk).all()


def test_from_the_rest_pose_it_goes_to_the_ready_pose() -> None:
    from configs.demo import expert, train

    observation = np.zeros(28)
    observation[:7] = expert.REST
    chunk = train.load(str(POLICY))(observation)
    # Nothing executed yet (last action zero): the plan starts where the robot stands, and leaves at once.
    assert chunk[0] == pytest.approx(expert.REST, abs=0.06)
    assert chunk[25, 1] > expert.REST[1] + 0.3


def test_with_latency_hidden_nine_of_ten_cubes_at_least() -> None:
    from configs.demo import mechanisms, rollout, train

    result = rollout.run(mechanisms.Timing(latency=0.2, execute=12).mechanism(train.load(str(POLICY))), seed=1)
    assert result.spawned == 10
    assert result.in_bin >= 9
    assert result.seconds < 60.0


def test_the_same_policy_run_inline_is_far_worse() -> None:
    from configs.demo import mechanisms, rollout, train

    timing = mechanisms.Timing(latency=0.2, execute=25, inline=True)
    result = rollout.run(timing.mechanism(train.load(str(POLICY))), seed=1)
    assert result.in_bin <= 4
