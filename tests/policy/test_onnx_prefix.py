"""ONNX models that are told of the plan that they continue."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package onnx, which makes the test's models, is not installed")
parser = pytest.importorskip("onnx.parser")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from runtime.policy.worker.errors import BackendError, WrongShape  # noqa: E402
from runtime.policy.worker.onnx import OnnxBackend  # noqa: E402
from runtime.policy.worker.wire import Can  # noqa: E402

HORIZON, SIZE = 4, 3
NAMES = {"plan": "prefix", "delay": "d"}


def write(path, plan="float[1,4,3]", delay="int64[1]"):
    """Its actions are the prefix, plus 100 d, plus the first value of the observation."""
    model = parser.parse_model(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        tiny (float[1,5] obs, {plan} prefix, {delay} d) => (float[1,4,3] actions)
        <float hundred = {{100.0}}, int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[3] shape = {{1, 4, 3}}> {{
            number = Cast <to = 1> (d)
            hundreds = Mul (number, hundred)
            first = Slice (obs, zero, one, one)
            sum = Add (prefix, hundreds)
            more = Add (sum, first)
            actions = Reshape (more, shape)
        }}"""
    )
    onnx.save(model, path)
    return str(path)


def load(path, **options):
    return OnnxBackend(path, {"threads": 1, "horizon": HORIZON, "action_size": SIZE, **options})


@pytest.mark.parametrize("plan", ["float[1,4,3]", "float[4,3]", "float[batch,4,3]", "float[batch,horizon,3]"])
@pytest.mark.parametrize("delay", ["int64[1]", "int64", "int32[1,1]", "float[batch]"])
def test_prefix_and_delay_arrive(tmp_path, plan, delay):
    backend = load(write(tmp_path / "m.onnx", plan, delay), **NAMES)
    rows = np.arange(9, dtype=np.float32).reshape(3, 3)
    observation = np.full(5, 0.5, np.float32)
    found = backend.continue_plan(observation, rows, 2).reshape(HORIZON, SIZE)
    assert found.tolist() == [[200.5, 201.5, 202.5], [203.5, 204.5, 205.5], [200.5] * 3, [200.5] * 3]
    assert (backend.infer(observation) == 0.5).all(), "no prefix, no delay"
    assert (backend.continue_plan(observation, rows[:1], 0) == 0.5).all()


def test_a_model_without_such_inputs_continues_nothing(tmp_path):
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 18]>
        tiny (float[1,12] obs) => (float[1,12] actions) { actions = Identity (obs) }"""
    )
    onnx.save(model, tmp_path / "m.onnx")
    assert load(str(tmp_path / "m.onnx")).continue_plan is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"plan": "prefix"}, r"found no options\.delay"),
        ({"delay": "d"}, r"found no options\.plan"),
        ({"plan": "plan", "delay": "d"}, r"no input 'plan'; found 'obs', 'prefix', 'd'; correct options\.plan"),
        ({"plan": "prefix", "delay": "n"}, r"no input 'n'; .* correct options\.delay"),
        ({"plan": "d", "delay": "prefix"}, r"input 'd' is a tensor\(int64\)"),
        ({}, r"3 inputs \('obs', 'prefix', 'd'\); choose one with options\.input"),
    ],
)
def test_wrong_names(tmp_path, options, message):
    with pytest.raises(BackendError, match=message):
        load(write(tmp_path / "m.onnx"), **options)


def test_a_prefix_of_another_shape(tmp_path):
    path = write(tmp_path / "m.onnx")
    with pytest.raises(
        WrongShape, match=r"input 'prefix' of the model has shape \[1, 4, 3\], expected \[1, 5, 3\]"
    ):
        load(path, **NAMES, horizon=5)
    with pytest.raises(WrongShape, match=r"input 'd' of the model has shape \[3\], expected \[1\]"):
        load(write(tmp_path / "three.onnx", delay="int64[3]"), **NAMES)


async def test_in_the_worker(rig, tmp_path):
    r = rig(backend="onnx", model=write(tmp_path / "m.onnx"), options=NAMES)
    await r.worker.start()
    assert r.worker.can == Can.CONTINUE
    r.worker.observation[:] = 0.0
    r.worker.plan[:2] = [[7.0] * 3, [8.0] * 3]
    assert r.worker.request(r.now(), 2, 1)
    await r.until(lambda: not r.worker.busy, "a chunk")
    assert r.chunks[-1].actions[:, 0].tolist() == [107.0, 100.0, 100.0, 100.0]
