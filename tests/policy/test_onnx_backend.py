"""ONNX files of all the shapes that exporters write, through the real ONNX Runtime."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package onnx, which makes the test's models, is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import TensorProto, helper  # noqa: E402

from runtime.policy.errors import PolicyError  # noqa: E402
from runtime.policy.worker.errors import BackendError, WrongShape  # noqa: E402
from runtime.policy.worker.onnx import OnnxBackend  # noqa: E402


def write(path, inputs, outputs, kind=TensorProto.FLOAT):
    """A model whose outputs each add 1 to the first input and take its values into their own shape."""
    nodes, constants = [], [helper.make_tensor("one", kind, [1], [1.0])]
    for name, shape in outputs.items():
        target = [1 if isinstance(size, str) else size for size in shape]
        constants.append(helper.make_tensor(f"{name}_shape", TensorProto.INT64, [len(shape)], target))
        nodes.append(helper.make_node("Add", [next(iter(inputs)), "one"], [f"{name}_sum"]))
        nodes.append(helper.make_node("Reshape", [f"{name}_sum", f"{name}_shape"], [name]))
    for name in list(inputs)[1:]:
        nodes.append(helper.make_node("Identity", [name], [f"{name}_out"]))
        outputs = outputs | {f"{name}_out": inputs[name]}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return str(path)


def load(path, **options):
    return OnnxBackend(path, {"threads": 1, **options})


@pytest.mark.parametrize("shape", [[6], [1, 6], ["batch", 6], ["batch", "values"], [1, 2, 3], [None, 6]])
def test_input_shapes(tmp_path, shape):
    backend = load(write(tmp_path / "m.onnx", {"obs": shape}, {"actions": [1, 3, 2]}))
    output = backend.infer(np.arange(6, dtype=np.float32))
    assert output.tolist() == [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]


def test_a_model_for_another_observation(tmp_path):
    backend = load(write(tmp_path / "m.onnx", {"obs": [1, 6]}, {"actions": [1, 6]}))
    with pytest.raises(WrongShape, match=r"input 'obs' of the model has shape \[1, 6\], .* give 5 values"):
        backend.infer(np.zeros(5, np.float32))


def test_one_of_several_outputs_must_be_chosen(tmp_path):
    path = write(tmp_path / "m.onnx", {"obs": [1, 6]}, {"actions": [1, 6], "value": [6, 1]})
    with pytest.raises(BackendError, match=r"2 outputs \('actions', 'value'\); choose one with options\.output"):
        load(path)
    with pytest.raises(BackendError, match=r"no output 'acts'; found 'actions', 'value'"):
        load(path, output="acts")
    assert load(path, output="value").infer(np.zeros(6, np.float32)).shape == (6, 1)


def test_an_output_says_how_unsure_the_model_is(tmp_path):
    path = write(tmp_path / "m.onnx", {"obs": [1, 6]}, {"actions": [1, 6], "spread": [2, 3]})
    backend = load(path, uncertainty="spread")
    assert backend.uncertainty is None, "not before the first inference"
    assert backend.infer(np.arange(6, dtype=np.float32)).shape == (1, 6), "the only other output"
    assert backend.uncertainty == pytest.approx(3.5)
    with pytest.raises(BackendError, match=r"no uncertainty 'std'; found 'actions', 'spread'; correct"):
        load(path, uncertainty="std")


def test_one_of_several_inputs_must_be_chosen(tmp_path):
    path = write(tmp_path / "m.onnx", {"obs": [1, 6], "goal": [1, 2]}, {"actions": [1, 6]})
    with pytest.raises(BackendError, match=r"2 inputs \('obs', 'goal'\); choose one with options\.input"):
        load(path)


def test_a_model_of_another_type(tmp_path):
    path = write(tmp_path / "m.onnx", {"obs": [1, 6]}, {"actions": [1, 6]}, TensorProto.DOUBLE)
    with pytest.raises(BackendError, match=r"'obs' is a tensor\(double\), expected tensor\(float\)"):
        load(path)


def test_a_file_that_is_no_model(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(BackendError, match=r"ONNX Runtime .* cannot load .*m\.onnx"):
        load(str(tmp_path / "m.onnx"))


def test_unknown_options(tmp_path):
    with pytest.raises(
        BackendError, match=r"options\.gpu: found an unknown option, expected delay, device, engine_cache, input"
    ):
        load(str(tmp_path / "m.onnx"), gpu=1)
    with pytest.raises(
        BackendError, match=r'options\.providers: found \["gpu"\], expected a list of "tensorrt", "cuda"'
    ):
        load(str(tmp_path / "m.onnx"), providers=["gpu"])


def test_a_provider_that_was_not_built_in(tmp_path, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    path = write(tmp_path / "m.onnx", {"obs": [1, 6]}, {"actions": [1, 6]})
    with pytest.raises(
        BackendError,
        match=r"ONNX Runtime .* was built without tensorrt and cuda: found CPUExecutionProvider, expected "
        r"TensorrtExecutionProvider, CUDAExecutionProvider; install onnxruntime-gpu",
    ):
        load(path, providers=["tensorrt", "cuda", "cpu"])


class Session:
    """ONNX Runtime's session on a machine without a GPU: what it was asked for, and the CPU all the same."""

    asked = None

    def __init__(self, model, settings, providers):
        Session.asked = providers
        self._session = REAL(model, settings, providers=["CPUExecutionProvider"])
        self.falls_back = True

    def disable_fallback(self):
        self.falls_back = False

    def __getattr__(self, name):
        return getattr(self._session, name)


REAL = onnxruntime.InferenceSession


def test_a_provider_that_falls_back_is_an_error(tmp_path, monkeypatch):
    path = write(tmp_path / "m.onnx", {"obs": [1, 6]}, {"actions": [1, 6]})
    names = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: names)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    with pytest.raises(
        BackendError, match=r"cannot use tensorrt and cuda and fell back to CPUExecutionProvider; the"
    ):
        load(path, providers=["tensorrt", "cuda", "cpu"], device=1, engine_cache=str(tmp_path / "cache"))
    cache = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(tmp_path / "cache")}
    options = [{"device_id": 1, **cache}, {"device_id": 1}, {}]
    assert Session.asked == list(zip(names, options, strict=True))
    assert (tmp_path / "cache").is_dir()
    assert not load(path, providers=["cpu"])._session.falls_back


async def test_in_the_worker(rig, tmp_path):
    path = write(tmp_path / "m.onnx", {"obs": [1, 6]}, {"actions": [1, 3, 2]})
    r = rig(backend="onnx", model=path, observation_size=6, horizon=3, action_size=2)
    await r.worker.start()
    chunk = await r.chunk(7.0)
    assert chunk.actions.tolist() == [[8.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(PolicyError, match=r"\[1, 6\], but the observation terms of the config give 5 values"):
        await rig(backend="onnx", model=path).worker.start()
    with pytest.raises(PolicyError, match=r"found output of shape \[1, 3, 2\], expected \[2, 3\]"):
        await rig(backend="onnx", model=path, observation_size=6, horizon=2, action_size=3).worker.start()
