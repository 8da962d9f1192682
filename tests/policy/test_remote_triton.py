"""The Triton backend against a gRPC server made of NVIDIA's own protocol classes."""

from __future__ import annotations

import time

import grpc
import numpy as np
import pytest

from runtime.policy.errors import PolicyError
from runtime.policy.worker import backends
from runtime.policy.worker.errors import BackendError, Unavailable, WrongShape
from runtime.policy.worker.remote.triton import TritonBackend
from runtime.policy.worker.wire import Can
from tests.policy.triton_server import HORIZON, SIZE, TritonServer, reply

GIVEN = {"threads": 1, "timeout": 20.0, "period": 0.02, "horizon": HORIZON, "action_size": SIZE}
OBSERVATION = np.array([1, 2, 3, 4, 5], np.float32)


@pytest.fixture
def server():
    made = TritonServer()
    yield made
    made.close()


def backend(server, **options):
    return TritonBackend("", {**GIVEN, "url": server.url, "model": "arm", "keys": {"state": [0, 5]}, **options})


def answer(asked):
    """Its actions, from a server that may be about to come back."""
    end = time.monotonic() + 20.0
    while True:
        try:
            return backends.normalise(asked.infer(OBSERVATION), HORIZON, SIZE)
        except Unavailable:
            assert time.monotonic() < end
            time.sleep(0.005)


def test_an_observation_goes_there_and_actions_come_back(server):
    asked = backend(server, version="7")
    assert answer(asked).tolist() == [[15.0] * SIZE, [16.0] * SIZE, [17.0] * SIZE, [18.0] * SIZE]
    (seen,) = server.seen
    assert seen["version"] == "7"
    assert seen["state"].shape == (1, 5)
    assert backends.abilities(asked) == 0, "it has no name for a prompt"


@pytest.mark.parametrize(
    ("kind", "shape", "sent"),
    [
        ("FP32", [5], (5,)),
        ("FP16", [-1, 5], (1, 5)),
        ("FP64", [-1, -1], (1, 5)),
        ("FP32", [1, 1, 5], (1, 1, 5)),
        ("FP32", [-1, 5, 1], (1, 5, 1)),
    ],
)
def test_types_and_shapes_of_inputs(server, kind, shape, sent):
    server.inputs = {"state": (kind, shape)}
    answer(backend(server))
    assert server.seen[0]["state"].shape == sent
    assert server.seen[0]["state"].ravel().tolist() == OBSERVATION.tolist()


@pytest.mark.parametrize(
    ("kind", "shape", "error"),
    [
        ("FP32", [-1, 4], r"input 'state' of the model has shape \[-1, 4\], but it is given \[5\]"),
        ("INT32", [-1, 5], "input 'state' of the model is INT32, but it is given float32"),
        ("BYTES", [-1, 5], "is BYTES, but it is given float32"),
    ],
)
def test_an_input_that_does_not_fit_the_observation(server, kind, shape, error):
    server.inputs = {"state": (kind, shape)}
    with pytest.raises(WrongShape, match=error):
        answer(backend(server))


def test_a_picture_and_a_prompt(server):
    server.inputs |= {"image": ("UINT8", [-1, -1, -1, 3]), "file": ("BYTES", [-1, 1]), "task": ("BYTES", [1])}
    picture = {"picture": "front"}
    keys = {"state": [0, 5], "image": picture, "file": {**picture, "quality": 90}}
    asked = backend(server, keys=keys, prompt="task")
    assert backends.abilities(asked) == Can.TASK
    asked.set_task("höher")
    asked.see({"front": np.arange(48, dtype=np.uint8).reshape(4, 4, 3)})
    asked.infer(np.arange(5, dtype=np.float32))
    (seen,) = server.seen
    assert seen["image"].shape == (1, 4, 4, 3)
    assert seen["image"].ravel().tolist() == list(range(48))
    assert seen["file"].startswith(b"\xff\xd8")
    assert seen["task"] == "höher".encode()


def test_a_model_that_continues_a_plan(server):
    server.inputs |= {"plan": ("FP32", [-1, SIZE]), "delay": ("INT32", [1])}
    asked = backend(server)
    answer(asked)
    assert backends.abilities(asked) == Can.CONTINUE
    asked.continue_plan(OBSERVATION, np.ones((2, SIZE), np.float32), 1)
    assert "plan" not in server.seen[0]
    assert server.seen[1]["plan"].tolist() == [[1.0] * SIZE] * 2
    assert server.seen[1]["delay"].tolist() == [1]


@pytest.mark.parametrize(
    ("inputs", "outputs", "options", "error"),
    [
        ({"observation": ("FP32", [5])}, None, {}, "inputs 'observation', expected 'state' as in options.keys"),
        ({"state": ("FP32", [5]), "task": ("BYTES", [1])}, None, {}, "found the inputs 'state', 'task', expected"),
        ({"state": ("BF16", [5])}, None, {}, "input 'state' is BF16, expected one of 'BYTES', 'FP16'"),
        (
            None,
            {"a": ("FP32", [1]), "b": ("FP32", [1])},
            {},
            "outputs 'a', 'b', expected one of them in",
        ),
        (None, None, {"actions": "acts"}, "found the outputs 'actions', expected one of them in options.actions"),
    ],
)
def test_a_model_that_does_not_fit_the_config(server, inputs, outputs, options, error):
    server.inputs, server.outputs = inputs or server.inputs, outputs or server.outputs
    with pytest.raises(BackendError, match=error) as caught:
        backend(server, **options).infer(OBSERVATION)
    assert not isinstance(caught.value, Unavailable)


def test_an_output_of_several(server):
    server.outputs |= {"value": ("FP32", [1])}
    assert answer(backend(server, actions="actions"))[0, 0] == 15.0


@pytest.mark.parametrize(
    ("behave", "kind", "error"),
    [
        (
            lambda name: reply(name, "FP32", [1, 4, 3], b"\0\0\xc0\x7f" * 12),
            Unavailable,
            "its actions are not finite",
        ),
        (lambda name: reply(name, "FP32", [1, 4, 3], b"\0" * 8), Unavailable, "cannot reshape"),
        (lambda name: reply("other", "FP32", [1], b"\0" * 4), WrongShape, "of type NoneType"),
        (lambda name: reply(name, "BYTES", [1], b"\1\0\0\0x"), WrongShape, "of type object"),
        (lambda name: reply(name, "FP32", [17 * 2**18], b"\0" * 17 * 2**20), Unavailable, "RESOURCE_EXHAUSTED"),
    ],
)
def test_an_answer_that_is_none(server, behave, kind, error):
    server.answer = lambda name, context: behave(name)
    with pytest.raises(kind, match=error):
        backend(server).infer(OBSERVATION)


def test_what_the_server_says_of_a_failure(server):
    text = "in ensemble 'arm', Failed to process the request(s): KeyError: 'x'\n\nAt:\n  model.py(3)\x1b"
    server.answer = lambda name, context: context.abort(grpc.StatusCode.INTERNAL, text)
    with pytest.raises(
        Unavailable, match=r"StatusCode\.INTERNAL\] in ensemble 'arm', .* KeyError: 'x' At: model"
    ) as caught:
        backend(server).infer(OBSERVATION)
    assert str(caught.value).isprintable()
    server.answer = lambda name, context: context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unexpected shape")
    with pytest.raises(BackendError, match="unexpected shape") as caught:
        backend(server).infer(OBSERVATION)
    assert not isinstance(caught.value, Unavailable)


def test_a_server_that_does_not_answer_in_time(server):
    server.answer = server.hang
    asked = backend(server, deadline=0.3)
    with pytest.raises(Unavailable, match=r"grpc://127\.0\.0\.1:\d+: no answer within 0\.3 s"):
        asked.infer(OBSERVATION)
    server.answer = server.ramp
    assert answer(asked)[0, 0] == 15.0


def test_a_model_that_is_not_loaded_yet_is_waited_for(server):
    server.loaded = False
    asked = backend(server)
    with pytest.raises(Unavailable, match="unknown model: 'arm'"):
        asked.infer(OBSERVATION)
    server.loaded = True
    assert answer(asked)[0, 0] == 15.0


def test_a_server_that_restarts(server):
    asked = backend(server)
    answer(asked)
    server.close()
    with pytest.raises(Unavailable):
        asked.infer(OBSERVATION)
    again = TritonServer(server.port)
    assert answer(asked)[0, 0] == 15.0
    again.close()


async def test_in_the_worker(server, rig):
    options = {"url": server.url, "model": "arm", "keys": {"state": [0, 5]}}
    bench = rig(backend="triton", options=options)
    await bench.worker.start()
    assert (await bench.chunk(7.0)).actions[0, 0] == 7.0
    with pytest.raises(PolicyError, match=r'backend triton: options\.model: found "", expected a text'):
        await rig(backend="triton", options={**options, "model": ""}).worker.start()
