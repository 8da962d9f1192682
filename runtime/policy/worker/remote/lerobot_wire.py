"""What LeRobot's policy server hears and says: gRPC service `transport.AsyncInference`, payloads that are pickles.

Messages: src/lerobot/transport/services.proto of LeRobot 0.6; payloads: src/lerobot/async_inference/helpers.py.

Runs in the worker's interpreter: Python 3.9, numpy and the standard library, and protobuf when it is called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.remote.options import Part
from runtime.policy.worker.remote.packages import need
from runtime.policy.worker.remote.pickles import Made, Refused, instance, parse
from runtime.policy.worker.remote.tensors import NAMES, array

SERVICE = "transport.AsyncInference"
STATE = "observation.state"
PICTURE = "observation.images."

_HELPERS = "lerobot.async_inference.helpers"
_ACTION = f"{_HELPERS}.TimedAction"
_ALLOWED = NAMES | {_ACTION}

# Of one message in a stream; gRPC takes at most 4 MiB by default.
_PIECE = 2 << 20
_BEGIN, _MIDDLE, _END = 1, 2, 3

_ACTIONS_MAX = 1000
_VALUES_MAX = 1000


class Messages:
    """The message classes, in a pool of their own: LeRobot's generated ones may be loaded beside them."""

    def __init__(self) -> None:
        """Raises BackendError without protobuf."""
        descriptor_pb2, descriptor_pool, message_factory = (
            need("lerobot", f"google.protobuf.{name}", "protobuf")
            for name in ("descriptor_pb2", "descriptor_pool", "message_factory")
        )
        field = descriptor_pb2.FieldDescriptorProto
        fields = {
            "Empty": [],
            "PolicySetup": [("data", 1, field.TYPE_BYTES)],
            "Actions": [("data", 1, field.TYPE_BYTES)],
            # The state is an enum, whose numbers are on the wire what those of an int32 are.
            "Observation": [("transfer_state", 1, field.TYPE_INT32), ("data", 2, field.TYPE_BYTES)],
        }
        file = descriptor_pb2.FileDescriptorProto(name="services.proto", package="transport", syntax="proto3")
        for name, entries in fields.items():
            message = file.message_type.add(name=name)
            for key, number, kind in entries:
                message.field.add(name=key, number=number, type=kind, label=field.LABEL_OPTIONAL)
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self.empty, self.setup, self.actions, self.observation = (
            message_factory.GetMessageClass(pool.FindMessageTypeByName(f"transport.{name}")) for name in fields
        )


def policy(kind: str, model: str, device: str, horizon: int, keys: Mapping[str, Part]) -> bytes:
    """A RemotePolicyConfig: load policy type `kind` from `model`, a folder of the server or a name on its hub.

    `keys`: what observations consist of, `STATE` and pictures whose names begin with `PICTURE`.
    """
    config = {
        "policy_type": kind,
        "pretrained_name_or_path": model,
        "lerobot_features": {name: _feature(part) for name, part in keys.items()},
        "actions_per_chunk": horizon,
        "device": device,
        "rename_map": {},
    }
    return instance(_HELPERS, "RemotePolicyConfig", config)


def _feature(part: Part) -> dict[str, Any]:
    if not part.picture:
        # The server puts the state together in the order of these names, so any will do.
        size = part.stop - part.start
        return {"dtype": "float32", "shape": (size,), "names": [_value(i) for i in range(size)]}
    assert part.size is not None  # `Kind.only`
    height, width = part.size
    return {"dtype": "image", "shape": (height, width, 3), "names": ["height", "width", "channels"]}


def observation(parts: Mapping[str, npt.NDArray[Any]], task: str, timestep: int, unix_s: float) -> bytes:
    """A TimedObservation that the server may not leave out because it resembles the last one."""
    raw: dict[str, Any] = {_value(i): value for i, value in enumerate(parts[STATE].tolist())}
    raw.update((name[len(PICTURE) :], part) for name, part in parts.items() if name != STATE)
    raw["task"] = task
    state = {"timestamp": unix_s, "timestep": timestep, "observation": raw, "must_go": True}
    return instance(_HELPERS, "TimedObservation", state)


def _value(index: int) -> str:
    return f"value_{index}"


def pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """`data` as transfer states and parts, in the order of sending; one part alone is an end."""
    for start in range(0, len(data), _PIECE):
        last = start + _PIECE >= len(data)
        yield _END if last else _MIDDLE if start else _BEGIN, data[start : start + _PIECE]


def actions(data: bytes, timestep: int) -> npt.NDArray[np.floating[Any]]:
    """The chunk in a list of TimedAction, shape (n, A): row i is the action for `timestep` + i.

    `timestep`: that of the observation. Raises Refused when it answers another one, or is anything else.
    """
    found = parse(data, _ALLOWED)
    if type(found) is not list or not 0 < len(found) <= _ACTIONS_MAX:
        raise Refused(f"found no list of 1 to {_ACTIONS_MAX} actions")
    rows = [_row(action, timestep + i) for i, action in enumerate(found)]
    if any(row.shape != rows[0].shape for row in rows):
        raise Refused("found actions of different sizes")
    return np.stack(rows)


def _row(action: Any, timestep: int) -> npt.NDArray[np.floating[Any]]:
    if type(action) is not Made or action.maker != _ACTION or type(action.state) is not dict:
        raise Refused("found something else in the list of actions, expected a TimedAction")
    step = action.state.get("timestep")
    if type(step) is not int or step != timestep:
        raise Refused(f"found an action for another timestep than {timestep}: it answers another observation")
    row = array(action.state.get("action"))
    # Here and not at the end: any number of actions may refer to one huge tensor.
    if row.ndim != 1 or row.size > _VALUES_MAX:
        raise Refused(f"found an action of shape {list(row.shape)}, expected one of 1 to {_VALUES_MAX} values")
    return row
