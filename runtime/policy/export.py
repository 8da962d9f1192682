"""Writes a flow policy as the ONNX file that the backend `flow` runs: its velocity field, and the derivative.

ONNX has no derivatives: PyTorch works out that of A_hat, and its graph is exported. Needs the extra `train`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

_OPSET = 18


def flow(
    field: Any, path: Path, horizon: int, action_size: int, observation_size: int, *, guided: bool = True
) -> None:
    """Write `field` to `path`. Inputs and outputs are those of `runtime.policy.worker.flow`.

    `field(actions, tau, observation)`: a torch module that gives the velocity, float32: (1, H, A), (1,), (1, N) ->
    (1, H, A). `guided`: with the derivative, so that it can continue a plan; an inference then takes longer.
    """
    actions, plan = torch.zeros(2, 1, horizon, action_size)
    arguments = [actions, torch.zeros(1), torch.zeros(1, observation_size)]
    names = ["actions", "tau", "observation"]
    if guided:
        arguments += [plan, torch.zeros(1, horizon, 1)]
        names += ["plan", "weights"]
    training = field.training
    field.eval()
    # The fused kernels of attention have no derivative that could be exported.
    with sdpa_kernel(SDPBackend.MATH):
        graph = make_fx(_guide(field) if guided else field)(*arguments).eval()
        write(graph, arguments, path, names, ["velocity", "vjp"] if guided else ["velocity"])
    field.train(training)


def _guide(field: Any) -> Any:
    def guided(actions: Any, tau: Any, observation: Any, plan: Any, weights: Any) -> tuple[Any, Any]:
        def clean(noisy: Any) -> tuple[Any, Any]:
            velocity = field(noisy, tau, observation)
            return noisy + (1.0 - tau) * velocity, velocity

        estimate, pull_back, velocity = torch.func.vjp(clean, actions, has_aux=True)
        return velocity, pull_back(weights * (plan - estimate))[0]

    return guided


def write(module: Any, example: Sequence[Any], path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> None:
    """Write any torch module as ONNX, its weights inside. `example`: tensors to call it with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.backends.mha.set_fastpath_enabled(False)
    torch.onnx.export(
        module,
        tuple(example),
        str(path),
        input_names=list(inputs),
        output_names=list(outputs),
        opset_version=_OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    model = onnx.load(str(path))
    # Paths and stack traces of the machine that exported have no place in a file that is shipped.
    del model.graph.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
