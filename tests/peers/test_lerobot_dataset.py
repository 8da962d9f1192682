"""Our data sets, loaded by LeRobot's own class and PyTorch's loader."""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

from runtime.cli.reflexctl import main
from tests.export import made
from tests.peers.conftest import ROOT

FRAME = 33_333_333
VENV = ROOT / ".venv-peers-lerobot"


@pytest.fixture
def dataset(tmp_path):
    """Two episodes with a camera."""
    success = {"id": "e1", "part": "1", "prompt": "pick it", "outcome": "success", "verdict": "good"}
    made.segment(
        tmp_path / "a.mcap",
        made.ticks(0, 100),
        episode=success,
        cameras={"front": [FRAME * number for number in range(30)]},
    )
    failure = {"id": "e2", "part": "1", "prompt": "drop it", "outcome": "failure", "verdict": "good"}
    made.segment(
        tmp_path / "b.mcap",
        made.ticks(300, 50, mode=4),
        episode=failure,
        cameras={"front": [3 * 10**9 + FRAME * number for number in range(15)]},
    )
    folder = tmp_path / "set"
    assert main(["export", "--format", "lerobot", "--output", str(folder), str(tmp_path)]) == 0
    return folder


def test_lerobot_loads_it(dataset, tmp_path):
    if not (VENV / "done").exists():
        pytest.skip(f"{VENV.name} is not there, and with it the packages of lerobot: make test-peers makes it")
    done = subprocess.run(
        [VENV / "bin/python", ROOT / "tests/peers/lerobot/load_dataset.py", dataset],
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        check=True,
        timeout=300,
    )
    told = json.loads(done.stdout)
    assert (told["version"], told["robot"], told["fps"], told["episodes"]) == ("v3.0", "maker", 50, 2)
    assert (told["lengths"], told["names"], told["good"], told["batches"]) == (
        [50, 25],
        ["Waist", "elbow"],
        50,
        75,
    )
    np.testing.assert_allclose(told["state"][7], [14.0, 14.1], rtol=1e-6)
    np.testing.assert_allclose(told["action"][7], [[2014.0, 2014.1], [2016.0, 2016.1]], rtol=1e-6)
    np.testing.assert_allclose(told["timestamp"][50:53], [0.0, 0.02, 0.04], atol=1e-6)
    assert (told["mono_ns"][7], told["outcome"][::50]) == (140_000_000, ["success", "failure"])
    assert (told["task"][49], told["task"][50]) == ("pick it", "drop it")
    assert told["shapes"] == {"observation.images.front": [3, made.HEIGHT, made.WIDTH]}
    for item in (0, 20, 49, 50, 70):
        frame = round((told["mono_ns"][item] - (3 * 10**9 if item >= 50 else 0)) / FRAME)
        assert told["images"]["observation.images.front"][item] == pytest.approx(made.grey(frame), abs=2)
    assert told["stats"]["observation.state"] == pytest.approx(np.mean(told["state"], axis=0).tolist())
