"""What the backend uses of TensorRT, for engines whose outputs are their input plus 1 in another shape.

A plan is the real header (tag, format, version) and JSON. The names are those of TensorRT 10 and 11.
"""

import enum
import json

import numpy as np
from pycuda import driver

__version__ = "10.3.0.26"


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class DataType(enum.Enum):
    FLOAT, HALF, INT8, INT32, BF16 = range(5)


class TensorIOMode(enum.Enum):
    NONE, INPUT, OUTPUT = range(3)


_NUMPY = {
    DataType.FLOAT: np.float32,
    DataType.HALF: np.float16,
    DataType.INT8: np.int8,
    DataType.INT32: np.int32,
    DataType.BF16: np.uint16,
}


def make_plan(version=(10, 3, 0, 26), inputs=None, outputs=None, **about):
    """An engine as bytes. `inputs`, `outputs`: shape and type by name; `refuses`: "graph", "run", "context"."""
    inputs = inputs or {"obs": [[1, 6], "FLOAT"]}
    outputs = outputs or {"actions": [[1, 3, 2], "FLOAT"]}
    head = b"ftrt" + bytes(20) + bytes(version)
    return head + json.dumps({"inputs": inputs, "outputs": outputs, "refuses": "", **about}).encode()


class Runtime:
    def __init__(self, logger):
        assert "init" in driver.calls, "the GPU is opened first"
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        self.logger.log(ILogger.Severity.INFO, "loading")
        if serialized_engine[:4] != b"ftrt":
            self.logger.log(ILogger.Severity.ERROR, "Magic tag does not match")
            return None
        version = ".".join(str(number) for number in serialized_engine[24:28])
        if version != __version__:
            self.logger.log(ILogger.Severity.ERROR, f"expecting library version {version} got {__version__}")
            return None
        return Engine(json.loads(serialized_engine[28:]), self.logger)


class Engine:
    def __init__(self, about, logger):
        self.about, self.logger = about, logger
        self.tensors = {**about["inputs"], **about["outputs"]}
        self.num_io_tensors = len(self.tensors)

    def create_execution_context(self):
        return None if self.about["refuses"] == "context" else ExecutionContext(self)

    def get_tensor_name(self, index):
        return [*self.tensors][index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.about["inputs"] else TensorIOMode.OUTPUT

    def get_tensor_shape(self, name):
        return tuple(self.tensors[name][0])

    def get_tensor_dtype(self, name):
        return DataType[self.tensors[name][1]]


class ExecutionContext:
    def __init__(self, engine):
        self.engine = engine
        self.shapes = {name: tuple(shape) for name, (shape, _) in engine.tensors.items()}
        self.addresses = {}
        self.runs = 0

    def set_input_shape(self, name, shape):
        self.shapes[name] = shape
        if shape[0] > 1:
            self.engine.logger.log(ILogger.Severity.ERROR, "not in the profile")
        return shape[0] == 1

    def get_tensor_shape(self, name):
        return self.shapes[name]

    def set_tensor_address(self, name, memory):
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        about = self.engine.about
        stream = driver.streams[stream_handle]
        self.runs += 1
        assert stream.captured is None or self.runs > 1, "a capture must not be the first run"
        assert self.addresses.keys() == self.shapes.keys(), "every tensor has an address"
        if about["refuses"] == "run" or (about["refuses"] == "graph" and stream.captured is not None):
            self.engine.logger.log(ILogger.Severity.ERROR, "not permitted when stream is capturing")
            return False
        stream.put("run", self._compute)
        return True

    def _view(self, name):
        return driver.memory[self.addresses[name]].view(_NUMPY[self.engine.get_tensor_dtype(name)])

    def _compute(self):
        (name,) = self.engine.about["inputs"]
        for output in self.engine.about["outputs"]:
            self._view(output)[:] = self._view(name) + 1
