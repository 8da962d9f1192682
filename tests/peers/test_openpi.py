"""Our client and openpi's own package: a server made of it, its client, and its pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from runtime.policy.worker.remote.images import resize
from runtime.policy.worker.wire import Can
from tests.policy.openpi_server import OpenpiServer


def spec(port):
    options = {"url": f"ws://localhost:{port}", "keys": {"observation/state": [0, 5]}}
    return {"backend": "openpi", "options": options, "paths": ()}


async def test_a_server_with_the_messages_of_openpi(rig, peer):
    server = peer("openpi", "server.py", "0")
    port = server.stdout.readline().strip()
    bench = rig(**spec(port))
    bench.worker.set_task("fold the towel")
    await bench.worker.start()
    assert bench.worker.can == Can.CONTINUE | Can.TASK
    for number in range(20):
        chunk = await bench.chunk(float(number))
        assert chunk.actions[:, 0].tolist() == [number, number + 1, number + 2, number + 3]
    bench.worker.plan[:3] = [[7.0] * 3, [8.0] * 3, [9.0] * 3]
    seen = len(bench.chunks)
    assert bench.worker.request(bench.now(), 3, 1)
    await bench.until(lambda: len(bench.chunks) > seen, "a chunk")
    assert bench.chunks[-1].actions[:, 0].tolist() == [7.0, 108.0, 109.0, 122.0]
    assert not bench.worker.failures


async def test_that_server_is_killed_and_started_again(rig, peer):
    server = peer("openpi", "server.py", "0")
    port = server.stdout.readline().strip()
    bench = rig(**spec(port))
    await bench.worker.start()
    await bench.chunk()
    pid = bench.worker.pid
    server.kill()
    server.wait()
    bench.ask()
    await bench.until(lambda: not bench.worker.busy, "an answer")
    again = peer("openpi", "server.py", port)
    assert again.stdout.readline().strip() == port
    seen = len(bench.chunks)
    while len(bench.chunks) == seen:
        bench.ask(7.0)
        await bench.until(lambda: not bench.worker.busy, "an answer")
    assert bench.chunks[-1].actions[0, 0] == 7.0
    assert bench.worker.pid == pid
    assert set(bench.worker.failures) == {"unavailable"}


async def test_the_traceback_of_that_server(rig, peer):
    server = peer("openpi", "server.py", "0")
    port = server.stdout.readline().strip()
    options = {"url": f"ws://localhost:{port}", "keys": {"state": [0, 5]}}
    bench = rig(backend="openpi", options=options)
    await bench.worker.start()
    event = await bench.failure("unavailable")
    assert "the server failed: KeyError: 'observation/state'" in event.message


def test_the_server_of_our_tests_is_understood_by_openpis_client(peer):
    with OpenpiServer(metadata={"robot": "arm"}) as server:
        client = peer("openpi", "client.py", server.url)
        output, _ = client.communicate(timeout=60)
        assert json.loads(output) == [{"robot": "arm"}, "float32", [[10.0 + i] * 3 for i in range(4)]]
        assert server.requests[0]["prompt"] == "fold"


@pytest.mark.parametrize(("height", "width"), [(224, 224), (40, 30), (31, 57)])
def test_pictures_are_those_that_openpi_makes(peer, tmp_path, height, width):
    picture = np.random.default_rng(7).integers(0, 256, (48, 64, 3), np.uint8)
    np.save(tmp_path / "picture.npy", picture)
    made = peer("openpi", "resize.py", str(tmp_path / "picture.npy"), str(height), str(width))
    assert made.wait(60) == 0
    assert np.array_equal(resize(picture, height, width, Image), np.load(tmp_path / "picture.out.npy"))
