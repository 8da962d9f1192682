"""Our client and LeRobot's own policy server, with a small ACT policy that has not been trained."""

from __future__ import annotations

import json
import os
import socket

import numpy as np
import pytest

from runtime.policy.worker.frames import FrameLayout, FrameWriter, create
from runtime.policy.worker.pictures import PictureTerm

# Of make_policy.py.
HORIZON, SIZE, PIXELS = 8, 3, 32
KEYS = {
    "observation.state": [0, SIZE],
    "observation.images.front": {"picture": "front", "size": [PIXELS, PIXELS]},
}
LOADING_S = 120.0


@pytest.fixture
def policy(peer, tmp_path):
    """The folder of a policy, and what it answers to some observations."""
    folder = tmp_path / "policy"
    assert peer("lerobot", "make_policy.py", str(folder)).wait(LOADING_S) == 0
    return folder, json.loads((folder / "cases.json").read_text())


@pytest.fixture
def port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def camera():
    """Frames as a camera's process leaves them."""
    descriptor = create(FrameLayout(PIXELS, PIXELS))
    yield descriptor, FrameWriter(descriptor)
    os.close(descriptor)


def bench_of(rig, port, folder, camera, **more):
    options = {
        "url": f"grpc://127.0.0.1:{port}",
        "keys": KEYS,
        "policy": str(folder),
        "type": "act",
        "device": "cpu",
    }
    shapes = {"observation_size": SIZE, "horizon": HORIZON, "action_size": SIZE}
    term = PictureTerm("front", "front", PIXELS, PIXELS, "hwc", "rgb", "uint8", [0] * 3, [1] * 3)
    seen = {"cameras": {"front": camera[0]}, "pictures": {"terms": [term], "ages": []}}
    bench = rig(backend="lerobot", options=options, **shapes, **seen, **more)
    bench.camera = camera[1]
    return bench


async def ask(bench, case):
    """Until there is an answer to the observation of `case`."""
    seen = len(bench.chunks)
    bench.worker.observation[:] = case["state"]
    bench.camera.write(np.asarray(case["picture"], np.uint8), bench.now())
    assert bench.worker.request(bench.now())
    await bench.until(lambda: len(bench.chunks) > seen or not bench.worker.busy, "an answer")
    return bench.chunks[-1].actions if len(bench.chunks) > seen else None


async def until_answered(bench, case):
    actions = None
    while actions is None:
        actions = await ask(bench, case)
    return actions


async def test_its_actions_are_those_of_its_policy(camera, rig, peer, policy, port, tmp_path):
    folder, cases = policy
    peer("lerobot", "server.py", str(tmp_path), str(port))
    bench = bench_of(rig, port, folder, camera)
    await bench.worker.start()
    await bench.until(lambda: bench.worker.ready, "the server", LOADING_S)
    # The last two are the same: without must_go the server would leave one out.
    for case in [*cases, cases[-1]]:
        np.testing.assert_allclose(await ask(bench, case), case["chunk"], atol=1e-5)
    assert len(np.unique(bench.chunks[-1].actions)) == HORIZON * SIZE, "any mistake in the order shows"


async def test_it_is_killed_and_started_again(camera, rig, peer, policy, port, tmp_path):
    folder, cases = policy
    server = peer("lerobot", "server.py", str(tmp_path), str(port))
    bench = bench_of(rig, port, folder, camera)
    await bench.worker.start()
    await bench.until(lambda: bench.worker.ready, "the server", LOADING_S)
    pid = bench.worker.pid
    server.kill()
    server.wait()
    assert await ask(bench, cases[0]) is None
    peer("lerobot", "server.py", str(tmp_path), str(port))
    np.testing.assert_allclose(await until_answered(bench, cases[1]), cases[1]["chunk"], atol=1e-5)
    assert bench.worker.pid == pid
    assert set(bench.worker.failures) == {"unavailable"}


async def test_it_cannot_load_the_policy(camera, rig, peer, port, tmp_path):
    peer("lerobot", "server.py", str(tmp_path), str(port))
    bench = bench_of(rig, port, tmp_path / "nothing", camera)
    await bench.worker.start()
    assert "cannot load the policy" in (await bench.failure("error", LOADING_S)).message
