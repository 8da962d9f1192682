"""How ONNX Runtime opens a model: on which providers, with how many threads.

Runs in the worker's interpreter: Python 3.9, numpy, the standard library and onnxruntime.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from runtime.policy.worker.backends import COUNT, Rule
from runtime.policy.worker.errors import BackendError
from runtime.policy.worker.sight import Input, Sight

_PROVIDERS = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}

OPTIONS = {
    "providers": Rule(
        'a list of "tensorrt", "cuda" and "cpu", the preferred one first',
        lambda value: isinstance(value, list) and value != [] and all(name in [*_PROVIDERS] for name in value),
    ),
    "device": COUNT,
    "engine_cache": Rule(
        "the absolute path of a folder", lambda value: isinstance(value, str) and os.path.isabs(value)
    ),
}
"""Options of a backend that opens a model in this way."""


def open_session(model: str, options: dict[str, Any]) -> Any:
    """An onnxruntime.InferenceSession on all the providers that were asked for. Raises BackendError."""
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendError(
            f"{sys.executable} cannot import onnxruntime ({error}); install it there (for reflexd's own "
            "interpreter: the extra reflexd[onnx]) or name another interpreter in policy.python"
        ) from error
    if not os.path.isfile(model):
        raise BackendError(f"no model file at {model!r}; expected the path of an ONNX file")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = int(options["threads"])
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    # Spinning makes the next inference faster, and takes a core from the control loop in between.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted: list[str] = options.get("providers", ["cpu"])
    here = f"ONNX Runtime {onnxruntime.__version__} in {sys.executable}"
    built_in = onnxruntime.get_available_providers()
    missing = [name for name in wanted if _PROVIDERS[name] not in built_in]
    if missing:
        raise BackendError(
            f"{here} was built without {' and '.join(missing)}: found {', '.join(built_in)}, expected "
            f"{', '.join(_PROVIDERS[name] for name in missing)}; install onnxruntime-gpu there instead of "
            "onnxruntime (on a Jetson: the build for its JetPack), or change options.providers"
        )
    providers = [(_PROVIDERS[name], _provider_options(name, options)) for name in wanted]
    try:
        session = onnxruntime.InferenceSession(model, settings, providers=providers)
    except Exception as error:
        raise BackendError(f"ONNX Runtime {onnxruntime.__version__} cannot load {model}: {error}") from error
    # A provider whose libraries or GPU are missing is left out with no more than a line on stderr.
    used = session.get_providers()
    lost = [name for name in wanted if _PROVIDERS[name] not in used]
    if lost:
        raise BackendError(
            f"{here} cannot use {' and '.join(lost)} and fell back to {', '.join(used)}; the worker's output says "
            "which library or device is missing: install CUDA, cuDNN and, for tensorrt, TensorRT of the versions "
            "that this ONNX Runtime was built with, or change options.providers"
        )
    # Nor is the model to move elsewhere after an error later on.
    session.disable_fallback()
    return session


_PICTURES = {"tensor(uint8)": ("uint8",), "tensor(float)": ("float32",)}


def sight(session: Any, options: dict[str, Any]) -> Sight:
    """The pictures that the model of a session is given. Raises BackendError."""
    found = {
        each.name: Input(each.type, _PICTURES.get(each.type, ()), each.shape) for each in session.get_inputs()
    }
    return Sight(found, options.get("pictures", ()))


def _provider_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    if name == "cpu":
        return {}
    given: dict[str, Any] = {"device_id": options.get("device", 0)}
    if name == "tensorrt" and "engine_cache" in options:
        os.makedirs(options["engine_cache"], exist_ok=True)
        given.update(trt_engine_cache_enable=True, trt_engine_cache_path=options["engine_cache"])
    return given
