"""The order of all that is asked of TensorRT, pycuda and the CUDA driver; with fakes of them that compute late.

That real ones have these names and arguments is checked in test_tensorrt_api.py. None of it was run on a GPU.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from runtime.policy.worker import cuda
from runtime.policy.worker import tensorrt as tensorrt_backend
from runtime.policy.worker.errors import BackendError, WrongShape

FAKES = Path(__file__).parent / "fake_gpu"


class FakeLibrary:
    """libcuda.so.1: the functions that graphs and the probe need, on pycuda's fake streams."""

    def __init__(self, driver, devices=1, error=0):
        self.driver, self.devices, self.error = driver, devices, error
        self.graphs = {}

    def cuInit(self, flags):
        assert flags.value == 0
        return self.error

    def cuDeviceGetCount(self, count):
        count._obj.value = self.devices
        return 0

    def cuGetErrorString(self, result, text):
        text._obj.value = {100: b"no CUDA-capable device is detected"}.get(result.value, b"odd")
        return 0

    def cuStreamBeginCapture_v2(self, stream, mode):
        assert mode.value == 1
        self.driver.streams[stream.value].captured = []
        self.driver.calls.append("begin capture")
        return 0

    def cuStreamEndCapture(self, stream, graph):
        found = self.driver.streams[stream.value]
        graph._obj.value = 500 + len(self.graphs)
        self.graphs[graph._obj.value] = found.captured
        found.captured = None
        self.driver.calls.append("end capture")
        return 0

    def cuGraphInstantiateWithFlags(self, executable, graph, flags):
        assert flags.value == 0
        executable._obj.value = graph.value
        return 0

    def cuGraphDestroy(self, graph):
        self.driver.calls.append("destroy graph")
        return 0

    def cuGraphLaunch(self, executable, stream):
        for work in self.graphs[executable.value]:
            self.driver.streams[stream.value].queue.append(work)
        self.driver.calls.append("launch")
        return 0


@pytest.fixture
def gpu(monkeypatch):
    """pycuda.driver, the fake."""
    monkeypatch.syspath_prepend(str(FAKES))
    fakes = ("tensorrt", "pycuda", "pycuda.driver")
    for name in fakes:
        monkeypatch.delitem(sys.modules, name, raising=False)
    from pycuda import driver

    monkeypatch.setattr(cuda, "ctypes", FakeCtypes(FakeLibrary(driver)))
    at_exit = SimpleNamespace(register=lambda function: driver.calls.append(f"at exit {function.__name__}"))
    monkeypatch.setattr(tensorrt_backend, "atexit", at_exit)
    yield driver
    for name in fakes:
        sys.modules.pop(name, None)


class FakeCtypes:
    """ctypes, but for the library that it loads."""

    def __init__(self, library):
        self.CDLL = lambda name: library if name == "libcuda.so.1" else None

    def __getattr__(self, name):
        return getattr(ctypes, name)


@pytest.fixture
def load(gpu, tmp_path):
    """Loads an engine that is described as in `make_plan`."""
    import tensorrt

    def load_it(options=None, plan=None, **about):
        path = tmp_path / "policy.engine"
        path.write_bytes(tensorrt.make_plan(**about) if plan is None else plan)
        return tensorrt_backend.TensorRtBackend(str(path), {"threads": 1, **(options or {})})

    return load_it


OBSERVATION = np.arange(6, dtype=np.float32)
RUN = ["to device", "run", "to host", "record", "wait"]


def test_first_plain_then_as_a_graph(gpu, load):
    backend = load()
    assert gpu.calls == ["init", "device 0", "push", "at exit pop"]
    gpu.calls.clear()
    assert backend.infer(OBSERVATION).tolist() == [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]]
    captured = [
        "begin capture",
        "capture to device",
        "capture run",
        "capture to host",
        "end capture",
        "destroy graph",
    ]
    assert gpu.calls == [*RUN, *captured]
    gpu.calls.clear()
    first = backend.infer(OBSERVATION + 10)
    assert first.tolist() == [[[11.0, 12.0], [13.0, 14.0], [15.0, 16.0]]]
    assert gpu.calls == ["launch", "record", "wait"]
    backend.infer(OBSERVATION)
    assert first[0, 0, 0] == 11.0, "an answer does not change with the next one"


def test_without_a_graph(gpu, load):
    backend = load({"cuda_graph": False, "device": 0})
    backend.infer(OBSERVATION)
    gpu.calls.clear()
    assert backend.infer(OBSERVATION)[0, 0, 0] == 1.0
    assert gpu.calls == RUN


def test_an_engine_that_cannot_be_captured_goes_on_without_a_graph(gpu, load, capsys):
    backend = load(refuses="graph")
    backend.infer(OBSERVATION)
    assert "no CUDA graph of this engine" in capsys.readouterr().err
    assert gpu.streams[backend._stream.handle].captured is None
    gpu.calls.clear()
    assert backend.infer(OBSERVATION)[0, 0, 0] == 1.0
    assert gpu.calls == RUN


@pytest.mark.parametrize(
    ("kind", "observation", "expected"),
    [
        ("HALF", [0.1, 2000.7, 0, 0, 0, 0], [1.1, 2002.0]),
        ("INT8", [1.6, 500.0, -500.0, 0, 0, 0], [3.0, -128.0]),
        ("INT32", [-1.6, 3e9, 0, 0, 0, 0], [-1.0, -(2.0**31)]),
    ],
)
def test_the_numbers_of_an_engine(load, kind, observation, expected):
    """127 + 1 is -128 in the fake's 8 bits: 500 was held at 127, and not wrapped."""
    backend = load(inputs={"obs": [[1, 6], kind]}, outputs={"actions": [[1, 6], kind]})
    with np.errstate(over="ignore"):
        found = backend.infer(np.array(observation, np.float32))
    assert found[0, :2].astype(float) == pytest.approx(expected, rel=1e-3)


def test_numbers_that_numpy_does_not_have(load):
    with pytest.raises(BackendError, match=r"'obs' of the engine is .*BF16, expected FLOAT, HALF, INT8 or INT32"):
        load(inputs={"obs": [[1, 6], "BF16"]})


def test_free_dimensions_take_the_observation(load):
    backend = load(inputs={"obs": [[-1, -1], "FLOAT"]})
    assert backend.infer(OBSERVATION).shape == (1, 3, 2)
    assert backend._context.shapes["obs"] == (1, 6)


def test_an_engine_for_another_observation(load):
    with pytest.raises(WrongShape, match=r"input 'obs' of the model has shape \[1, 6\], .* give 5 values"):
        load().infer(OBSERVATION[:5])
    with pytest.raises(BackendError, match=r"profile does not allow shape \(2, 3\) .*: not in the profile"):
        load(inputs={"obs": [[2, 3], "FLOAT"]}).infer(OBSERVATION)


def test_one_of_several_outputs_must_be_chosen(load):
    outputs = {"actions": [[1, 3, 2], "FLOAT"], "value": [[6], "FLOAT"]}
    with pytest.raises(BackendError, match=r"2 outputs \('actions', 'value'\); choose one with options\.output"):
        load(outputs=outputs)
    assert load({"output": "value"}, outputs=outputs).infer(OBSERVATION).shape == (6,)


def test_an_input_that_nothing_fills(load):
    with pytest.raises(BackendError, match=r"nothing gives the engine its input 'goal'"):
        load({"input": "obs"}, inputs={"obs": [[1, 6], "FLOAT"], "goal": [[1, 2], "FLOAT"]})


def test_an_output_whose_size_depends_on_the_data(load):
    with pytest.raises(BackendError, match=r"output 'actions' of the engine has shape \(1, -1\), which depends"):
        load(outputs={"actions": [[1, -1], "FLOAT"]}).infer(OBSERVATION)


def test_an_engine_of_another_release(load):
    with pytest.raises(
        BackendError,
        match=r"TensorRT 10\.3\.0\.26 cannot load .*policy\.engine, built with TensorRT 8\.6\.1\.6, on Fake "
        r"\(compute capability 8\.7\): expecting library .*; an engine belongs .* build it on this machine",
    ):
        load(version=(8, 6, 1, 6))


def test_a_file_that_is_no_engine(load, tmp_path):
    with pytest.raises(BackendError, match=r"which is no TensorRT engine, .*: Magic tag does not match"):
        load(plan=b"junk")
    with pytest.raises(BackendError, match=r"no model file at .*none\.engine"):
        tensorrt_backend.TensorRtBackend(str(tmp_path / "none.engine"), {"threads": 1})


@pytest.mark.parametrize(
    ("refuses", "what"), [("context", "cannot run .* on Fake"), ("run", "cannot run the engine")]
)
def test_what_tensorrt_refuses_is_told(load, refuses, what):
    with pytest.raises(BackendError, match=what):
        load(refuses=refuses).infer(OBSERVATION)


def test_a_gpu_that_is_not_there(gpu, load):
    with pytest.raises(BackendError, match=r"options\.device: found 1, expected less than 1, the number of GPUs"):
        load({"device": 1})
    assert not gpu.calls


@pytest.mark.parametrize(
    ("devices", "error", "text"),
    [
        (
            1,
            100,
            r"CUDA cannot be used: cuInit: no CUDA-capable device is detected \(100\); see what `nvidia-smi`",
        ),
        (0, 0, r"the driver finds no GPU"),
    ],
)
def test_without_a_usable_gpu_tensorrt_is_not_touched(gpu, load, monkeypatch, devices, error, text):
    monkeypatch.setattr(cuda, "ctypes", FakeCtypes(FakeLibrary(gpu, devices, error)))
    with pytest.raises(BackendError, match=text):
        load()
    assert not gpu.calls


def test_without_a_driver(load, monkeypatch):
    monkeypatch.setattr(cuda, "ctypes", ctypes)
    monkeypatch.setattr(cuda, "_LIBRARY", "libno-such-driver.so.1")
    with pytest.raises(BackendError, match=r"there is no CUDA driver: libno-such-driver\.so\.1 cannot be loaded"):
        load()


def test_without_the_packages(tmp_path, gpu):
    path = tmp_path / "policy.engine"
    path.touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pycuda.driver", None)
        with pytest.raises(BackendError, match=r"cannot import pycuda .* \(extra reflexd\[jetson\]\)"):
            tensorrt_backend.TensorRtBackend(str(path), {"threads": 1})
        for name in ("tensorrt", "tensorrt_lean", "tensorrt_lean_bindings"):
            patch.setitem(sys.modules, name, None)
        with pytest.raises(BackendError, match=r"cannot import TensorRT .* install it there"):
            tensorrt_backend.TensorRtBackend(str(path), {"threads": 1})


def test_wrong_options(tmp_path):
    with pytest.raises(
        BackendError, match=r"options\.cuda_graph: found 1, expected true or false; options\.gpu: found an"
    ):
        tensorrt_backend.TensorRtBackend("", {"cuda_graph": 1, "gpu": 0})
