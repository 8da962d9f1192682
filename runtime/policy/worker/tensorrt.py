"""TensorRT engines, through NVIDIA's own bindings and pycuda.

One stream, memory that is pinned, copies and inference queued without waiting, and one wait for an event at the
end; all of it as one CUDA graph where the engine allows that.
Runs in the worker's interpreter: Python 3.9, numpy, the standard library, tensorrt and pycuda.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
from typing import Any, ClassVar, Optional

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.backends import COUNT, SWITCH, TEXT, check_options
from runtime.policy.worker.cuda import Cuda, Graph
from runtime.policy.worker.errors import BackendError
from runtime.policy.worker.tensors import fit, pick

_MODULES = ("tensorrt", "tensorrt_lean", "tensorrt_lean_bindings")
"""The whole TensorRT, or its lean runtime."""
_TAG = b"ftrt"
_LOG_LINES = 3


class TensorRtBackend:
    """An engine with one input; `output` chooses where it has more than one output."""

    MODEL = "a TensorRT engine"
    OPTIONS: ClassVar = {"input": TEXT, "output": TEXT, "device": COUNT, "cuda_graph": SWITCH}

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        check_options("tensorrt", options, **self.OPTIONS)
        if not os.path.isfile(model):
            raise BackendError(f"no model file at {model!r}; expected the path of a TensorRT engine")
        trt = _import_tensorrt()
        # Without a driver TensorRT hands out a runtime all the same, and crashes with it.
        cuda = Cuda()
        self._driver, gpu = _open_gpu(cuda, options.get("device", 0))
        self._graph: Optional[Graph] = None
        self._cuda = cuda if options.get("cuda_graph", True) else None
        self._log: list[str] = []
        # Runtime and logger have to outlive the engine.
        self._runtime = trt.Runtime(_logger(trt, self._log))
        with open(model, "rb") as file:
            plan = file.read()
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BackendError(
                f"TensorRT {trt.__version__} cannot load {model}, {_origin(plan)}, on {gpu}: {self._why()}; an "
                "engine belongs to the release of TensorRT and the kind of GPU that it was built with: build "
                "it on this machine"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise BackendError(f"TensorRT {trt.__version__} cannot run {model} on {gpu}: {self._why()}")
        names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self._input = pick("input", inputs, options.get("input"))
        if len(inputs) > 1:
            others = ", ".join(repr(name) for name in inputs if name != self._input)
            raise BackendError(f"nothing gives the engine its input {others}; build it with the observation alone")
        outputs = [name for name in names if name not in inputs]
        self._output = pick("output", outputs, options.get("output"))
        self._types = {name: _number_type(trt, self._engine, name) for name in names}
        self._stream = self._driver.Stream()
        # The worker sleeps while the GPU computes: a core that waits is one that others do not have.
        flags = self._driver.event_flags
        self._done = self._driver.Event(flags.BLOCKING_SYNC | flags.DISABLE_TIMING)
        self._host: dict[str, npt.NDArray[Any]] = {}
        self._device: dict[str, Any] = {}

    def infer(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """Run the engine. Raises WrongShape when the observation does not fit its input."""
        first = not self._host
        if first:
            self._allocate(observation.size)
        _put(observation, self._host[self._input])
        if self._graph is not None:
            self._graph.launch()
        else:
            self._enqueue()
        self._done.record(self._stream)
        self._done.synchronize()
        if first and self._cuda is not None:
            # Only now: the first run is where TensorRT allocates, which a capture must not see.
            self._graph = self._capture(self._cuda)
        return self._host[self._output].copy()

    def _allocate(self, size: int) -> None:
        """Memory for all inputs and outputs, whose shapes are those of this observation for good."""
        shape = tuple(fit(self._input, list(self._engine.get_tensor_shape(self._input)), size))
        if not self._context.set_input_shape(self._input, shape):
            raise BackendError(
                f"the engine's profile does not allow shape {shape} for its input {self._input!r}: "
                f"{self._why()}; build it for this shape"
            )
        host, device = {}, {}
        for name, kind in self._types.items():
            shape = tuple(self._context.get_tensor_shape(name))
            if min(shape, default=0) < 0:
                raise BackendError(
                    f"output {name!r} of the engine has shape {shape}, which depends on the data; expected fixed "
                    "sizes"
                )
            host[name] = self._driver.pagelocked_empty(shape, kind)
            device[name] = self._driver.mem_alloc(max(host[name].nbytes, 1))
            if not self._context.set_tensor_address(name, int(device[name])):
                raise BackendError(f"TensorRT refuses the memory of {name!r}: {self._why()}")
        self._host, self._device = host, device

    def _enqueue(self) -> None:
        self._driver.memcpy_htod_async(self._device[self._input], self._host[self._input], self._stream)
        if not self._context.execute_async_v3(self._stream.handle):
            raise BackendError(f"TensorRT cannot run the engine: {self._why()}")
        self._driver.memcpy_dtoh_async(self._host[self._output], self._device[self._output], self._stream)

    def _capture(self, cuda: Cuda) -> Optional[Graph]:
        """An inference as one graph; None for an engine with loops, branches or work on the CPU."""
        try:
            return cuda.capture(self._stream.handle, self._enqueue)
        except (BackendError, self._driver.Error) as error:
            print(f"no CUDA graph of this engine, its kernels are launched one by one: {error}", file=sys.stderr)
            return None

    def _why(self) -> str:
        return "; ".join(self._log[-_LOG_LINES:]) or "it did not say why"


def _import_tensorrt() -> Any:
    errors = []
    for name in _MODULES:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:  # OSError: the bindings are there, and their libraries are not
            errors.append(str(error))
    raise BackendError(
        f"{sys.executable} cannot import TensorRT ({'; '.join(errors)}); install it there (extra reflexd[jetson]; "
        "on a Jetson python3-libnvinfer, for the system's Python) or name another interpreter in policy.python"
    )


def _open_gpu(cuda: Cuda, number: int) -> tuple[Any, str]:
    """pycuda's driver, with the context that TensorRT uses (the primary one) current; and the GPU in words."""
    try:
        driver = importlib.import_module("pycuda.driver")
    except ImportError as error:
        raise BackendError(
            f"{sys.executable} cannot import pycuda ({error}); install it there (extra reflexd[jetson]) or name "
            "another interpreter in policy.python"
        ) from error
    if number >= cuda.devices:
        raise BackendError(
            f"options.device: found {number}, expected less than {cuda.devices}, the number of GPUs"
        )
    driver.init()
    device = driver.Device(number)
    context = device.retain_primary_context()
    context.push()
    # pycuda aborts the process when a context is left on its stack.
    atexit.register(context.pop)
    major, minor = device.compute_capability()
    return driver, f"{device.name()} (compute capability {major}.{minor})"


def _logger(trt: Any, lines: list[str]) -> Any:
    """A logger that keeps errors, and prints them and warnings on stderr."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                lines.append(message)
            elif severity != trt.ILogger.Severity.WARNING:
                return
            print(f"TensorRT: {message}", file=sys.stderr)

    return Logger()


def _origin(plan: bytes) -> str:
    """What an engine says of the release that has built it.

    A plan begins with its tag and its format; in format 0 bytes 24 to 27 are the version (printPlanVersion in
    samples/common/sampleEngines.cpp of TensorRT).
    """
    if plan[:4] != _TAG:
        return "which is no TensorRT engine"
    if plan[4:8] != bytes(4) or len(plan) < 28:
        return "an engine of an unknown format"
    return f"built with TensorRT {'.'.join(str(number) for number in plan[24:28])}"


def _number_type(trt: Any, engine: Any, name: str) -> npt.DTypeLike:
    """The numpy type of an input or output. Raises BackendError when numpy has none."""
    kind = engine.get_tensor_dtype(name)
    known = {
        trt.DataType.FLOAT: np.float32,
        trt.DataType.HALF: np.float16,
        trt.DataType.INT8: np.int8,
        trt.DataType.INT32: np.int32,
    }
    if kind not in known:
        raise BackendError(
            f"{name!r} of the engine is {kind}, expected FLOAT, HALF, INT8 or INT32; build it with such inputs "
            "and outputs (trtexec --inputIOFormats=fp32:chw --outputIOFormats=fp32:chw)"
        )
    return known[kind]


def _put(values: npt.NDArray[Any], memory: npt.NDArray[Any]) -> None:
    """Write the observation in the engine's numbers: whole ones are rounded, and stay in their range."""
    if memory.dtype.kind == "i":
        limits = np.iinfo(memory.dtype)
        values = np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max)
    memory[...] = values.reshape(memory.shape)
