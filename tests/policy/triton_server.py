"""A server that speaks Triton's gRPC protocol, with the classes that NVIDIA generates from its definition."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

HORIZON, SIZE = 4, 3


class TritonServer(service_pb2_grpc.GRPCInferenceServiceServicer):
    """One model, `arm`: action i is [i, i, i] plus the sum of its input `state`."""

    def __init__(self, port: int = 0) -> None:
        self.inputs: dict[str, tuple[str, list[int]]] = {"state": ("FP32", [-1, 5])}
        self.outputs: dict[str, tuple[str, list[int]]] = {"actions": ("FP32", [-1, HORIZON, SIZE])}
        self.answer: Any = self.ramp
        self.loaded = True
        self.seen: list[dict[str, Any]] = []
        self.release = threading.Event()
        """Lets go of requests that `hang`."""
        self._server = grpc.server(ThreadPoolExecutor(4))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    @property
    def url(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.release.set()
        self._server.stop(0).wait(20)

    def ModelMetadata(self, request: Any, context: Any) -> Any:
        if not self.loaded or request.name != "arm":
            context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{request.name}' is not found")
        tensor = pb.ModelMetadataResponse.TensorMetadata
        return pb.ModelMetadataResponse(
            name="arm",
            versions=["1"],
            inputs=[tensor(name=name, datatype=kind, shape=shape) for name, (kind, shape) in self.inputs.items()],
            outputs=[
                tensor(name=name, datatype=kind, shape=shape) for name, (kind, shape) in self.outputs.items()
            ],
        )

    def ModelInfer(self, request: Any, context: Any) -> Any:
        self.seen.append(
            {
                "version": request.model_version,
                **{
                    each.name: read(each.datatype, list(each.shape), raw)
                    for each, raw in zip(request.inputs, request.raw_input_contents, strict=True)
                },
            }
        )
        (wanted,) = request.outputs
        return self.answer(wanted.name, context)

    def ramp(self, name: str, context: Any) -> Any:
        actions = np.arange(HORIZON)[:, None] + np.full((HORIZON, SIZE), self.seen[-1]["state"].sum())
        return reply(name, "FP32", [1, HORIZON, SIZE], actions.astype("<f4").tobytes())

    def hang(self, name: str, context: Any) -> Any:
        self.release.wait(20)
        return self.ramp(name, context)


def tensors(named: dict[str, tuple[str, list[int]]]) -> list[Any]:
    made = pb.ModelMetadataResponse.TensorMetadata
    return [made(name=name, datatype=kind, shape=shape) for name, (kind, shape) in named.items()]


def reply(name: str, kind: str, shape: list[int], data: bytes) -> Any:
    output = pb.ModelInferResponse.InferOutputTensor(name=name, datatype=kind, shape=shape)
    return pb.ModelInferResponse(model_name="arm", outputs=[output], raw_output_contents=[data])


def read(kind: str, shape: list[int], raw: bytes) -> Any:
    """What an input holds, as Triton reads it: little endian, texts with their length in front."""
    if kind == "BYTES":
        size = int.from_bytes(raw[:4], "little")
        assert len(raw) == 4 + size
        assert np.prod(shape) == 1
        return raw[4:]
    types = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "UINT8": "u1", "INT32": "<i4"}
    return np.frombuffer(raw, types[kind]).reshape(shape)
