"""PyTorch models that were saved with their code: TorchScript and torch.export.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library and torch.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any, ClassVar, Mapping

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.backends import Rule, check_options
from runtime.policy.worker.errors import BackendError
from runtime.policy.worker.sight import Input, Sight, nothing_but_pictures
from runtime.policy.worker.tensors import fit, pick

_DEVICE = Rule(
    '"cpu", "cuda" or "cuda:N"',
    lambda value: isinstance(value, str) and re.fullmatch(r"cpu|cuda(:\d+)?", value) is not None,
)
_OUTPUT = Rule(
    "the name of an output, or its place from 0 on", lambda value: isinstance(value, str) or type(value) is int
)
_SHAPE = Rule(
    "a list of whole numbers, -1 for what is free",
    lambda value: isinstance(value, list) and value != [] and all(type(size) is int for size in value),
)


class _TorchBackend:
    """A module that takes one tensor, and one for each picture by its name; it gives one, or several of which
    `output` chooses."""

    MODEL: str
    OPTIONS: ClassVar[dict[str, Rule]]
    _module: Any
    _slow_runs = 0
    """After the first one, which is slow in any case."""

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        try:
            import torch
        except ImportError as error:
            raise BackendError(
                f"{sys.executable} cannot import torch ({error}); install it there or name another interpreter in "
                "policy.python"
            ) from error
        if not os.path.isfile(model):
            raise BackendError(f"no model file at {model!r}; expected the path of {self.MODEL}")
        self._torch = torch
        self._types: dict[str, Any] = {}
        """Torch's types of all inputs, in their order."""
        self._device = options.get("device", "cpu")
        self._wanted = str(options["output"]) if "output" in options else None
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if self._device != "cpu" and int(self._device[5:] or 0) >= gpus:
            raise BackendError(
                f"options.device: found {self._device!r}, but PyTorch {torch.__version__} in {sys.executable} can "
                f"use {gpus} GPUs (it was built for CUDA {torch.version.cuda}); install a build for this GPU's "
                'driver, or take "cpu"'
            )
        torch.set_num_threads(int(options["threads"]))
        try:
            inputs = self._load(model)
            pictures = options.get("pictures", ())
            self._sight = Sight(inputs, pictures)
            others = [name for name in inputs if name not in pictures]
            if len(others) > 1 or not inputs:
                raise BackendError(f"found {len(others)} inputs ({', '.join(others)}), expected one")
        except Exception as error:
            raise BackendError(f"PyTorch {torch.__version__} cannot load {model}: {_last_line(error)}") from error

        self._name = others[0] if others else ""
        """Of the input for the vector; empty for none."""
        shape = inputs[self._name].shape if others else None
        self._shape = options.get("input_shape", [1, -1]) if shape is None else shape

    def _load(self, model: str) -> dict[str, Input]:
        """Returns the inputs by name."""
        raise NotImplementedError

    def see(self, pictures: Mapping[str, npt.NDArray[Any]]) -> None:
        """As in `Backend`. Raises BackendError or WrongShape when a picture does not fit its input."""
        self._sight.see(pictures)

    def infer(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Run the model. Raises WrongShape when the observation does not fit its input."""
        arrays = dict(self._sight.shown)
        if self._name:
            arrays[self._name] = observation.reshape(fit(self._name, self._shape, observation.size))
        else:
            nothing_but_pictures(observation)
        with self._torch.inference_mode():
            values = [self._tensor(arrays[name], kind) for name, kind in self._types.items()]
            try:
                while self._slow_runs:
                    self._slow_runs -= 1
                    self._module(*values)
                found = self._module(*values)
            except RuntimeError as error:
                shapes = " and ".join(str(list(each.shape)) for each in values)
                raise BackendError(
                    f"the model fails on an input of shape {shapes}: {_last_line(error)}"
                ) from error
            if not isinstance(found, self._torch.Tensor):
                named = (
                    found if isinstance(found, dict) else {str(place): each for place, each in enumerate(found)}
                )
                found = named[pick("output", list(named), self._wanted)]
            output: npt.NDArray[np.float32] = found.to("cpu", self._torch.float32).numpy()
            return output

    def _tensor(self, values: npt.NDArray[Any], kind: Any) -> Any:
        tensor = self._torch.from_numpy(values).to(self._device)
        return tensor if tensor.dtype == self._torch.uint8 else tensor.to(kind)


class TorchScriptBackend(_TorchBackend):
    """What `torch.jit.save` wrote. It does not say which shapes it takes: `input_shape` is that of the vector,
    [1, -1] unless given, and pictures are a batch of one."""

    MODEL = "a TorchScript file"
    OPTIONS: ClassVar = {"device": _DEVICE, "output": _OUTPUT, "input_shape": _SHAPE}
    _slow_runs = 2  # it profiles in the first run and compiles in the next ones

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        check_options("torchscript", options, **self.OPTIONS)
        super().__init__(model, options)

    def _load(self, model: str) -> dict[str, Input]:
        self._module = self._torch.jit.load(model, map_location=self._device).eval()
        kinds = [weights.dtype for weights in self._module.parameters() if weights.is_floating_point()]
        kind = kinds[0] if kinds else self._torch.float32
        _itself, *arguments = self._module.forward.schema.arguments
        names = [argument.name for argument in arguments if not argument.has_default_value()]
        self._types = dict.fromkeys(names, kind)
        return dict.fromkeys(names, Input("tensor of any type", ("uint8", "float32"), None))


class TorchExportBackend(_TorchBackend):
    """What `torch.export.save` wrote: a .pt2 file, which knows shape and type of its inputs."""

    MODEL = "a .pt2 file of torch.export"
    OPTIONS: ClassVar = {"device": _DEVICE, "output": _OUTPUT}

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        check_options("torch_export", options, **self.OPTIONS)
        super().__init__(model, options)

    def _load(self, model: str) -> dict[str, Input]:
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(self._torch.export.load(model), self._device)
        examples = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
        inputs = {}
        for name in program.graph_signature.user_inputs:
            kind = examples[name].dtype
            self._types[name] = kind
            takes = ("uint8" if kind == self._torch.uint8 else "float32",)
            # A size that may vary is no int, but a symbol.
            shape = [size if isinstance(size, int) else -1 for size in examples[name].shape]
            inputs[name] = Input(str(kind), takes, shape)
        self._module = program.module()
        return inputs


def _last_line(error: Exception) -> str:
    """TorchScript puts a whole traceback before what went wrong."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
