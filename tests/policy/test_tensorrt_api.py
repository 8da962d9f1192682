"""Whether the real packages have all that the TensorRT backend uses of them; skipped where they are not installed.

To run it: pip install tensorrt-lean-cu13-bindings tensorrt-lean-cu13-libs. They need no GPU for this.
"""

from __future__ import annotations

import ast
import ctypes
import re
from pathlib import Path

import pytest

import runtime.policy.worker.tensorrt as backend
from runtime.policy.errors import PolicyError

SOURCE = ast.parse(Path(backend.__file__).read_text())


def dotted(node):
    """`a.b.c` of an expression; "" when it is something else."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) and dotted(node.value) else ""


def used(*prefixes):
    """What the backend takes from objects with these names: by name, the arguments of a call, None without one."""
    calls = {
        id(node.func): len(node.args) + len(node.keywords)
        for node in ast.walk(SOURCE)
        if isinstance(node, ast.Call)
    }
    found = {}
    for node in ast.walk(SOURCE):
        for prefix in prefixes:
            name = dotted(node)
            if name.startswith(prefix + "."):
                rest = name.removeprefix(prefix + ".")
                found[rest] = max(found.get(rest) or 0, calls[id(node)]) if id(node) in calls else found.get(rest)
    return found


def counts(method):
    """How many arguments, without self, a method of pybind11 takes: what its docstring says."""
    takes = set()
    for arguments in re.findall(rf"{method.__name__}\((self: .*?)\) ->", method.__doc__ or ""):
        listed = re.sub(r"\[[^\[\]]*\]", "", arguments).split(", ")[1:]
        optional = sum(" = " in each for each in listed)
        takes |= set(range(len(listed) - optional, len(listed) + 1))
    return takes


@pytest.fixture
def trt():
    return pytest.importorskip("tensorrt_lean_bindings", reason="tensorrt_lean_bindings is not installed")


def test_what_is_used_is_found():
    assert {"Runtime", "ILogger.Severity.ERROR", "DataType.HALF", "TensorIOMode.INPUT", "__version__"} <= set(
        used("trt")
    )
    assert used("self._context") == {
        "set_input_shape": 2,
        "get_tensor_shape": 1,
        "set_tensor_address": 2,
        "execute_async_v3": 1,
    }


def test_tensorrt_has_it(trt):
    for name in used("trt"):
        found = trt
        for part in name.split("."):
            assert hasattr(found, part), f"tensorrt has no {name}"
            found = getattr(found, part)
    classes = {
        trt.Runtime: used("self._runtime"),
        trt.ICudaEngine: used("self._engine", "engine"),
        trt.IExecutionContext: used("self._context"),
    }
    for kind, names in classes.items():
        assert names
        for name, arguments in names.items():
            assert hasattr(kind, name), f"{kind.__name__} has no {name}"
            if arguments is not None:
                assert arguments in counts(getattr(kind, name)), (
                    f"{kind.__name__}.{name}: {getattr(kind, name).__doc__}"
                )


def test_pycuda_has_it():
    driver = pytest.importorskip("pycuda.driver", reason="pycuda is not installed", exc_type=ImportError)
    names = used("driver", "self._driver")
    assert {"Stream", "memcpy_htod_async", "init"} <= set(names)
    for name in names:
        assert hasattr(driver, name), f"pycuda.driver has no {name}"
    for name in ("retain_primary_context", "compute_capability", "name"):
        assert hasattr(driver.Device, name)
    for kind, name in ((driver.Context, "push"), (driver.Context, "pop"), (driver.Stream, "handle")):
        assert hasattr(kind, name)
    for name in ("BLOCKING_SYNC", "DISABLE_TIMING"):
        assert hasattr(driver.event_flags, name)
    for name in ("record", "synchronize"):
        assert hasattr(driver.Event, name)


def no_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return True
    return False


async def test_a_crash_in_tensorrt_costs_the_worker_alone(trt, rig, tmp_path):
    if not no_driver():
        pytest.skip("there is a CUDA driver here: TensorRT does not crash")
    engine = tmp_path / "policy.engine"
    engine.write_bytes(b"ftrt" + bytes(1000))
    with pytest.raises(PolicyError, match=r"signal 11 \(SIGSEGV\)"):
        await rig(backend="model_zoo:Unprobed", model=str(engine)).worker.start()
    with pytest.raises(PolicyError, match=r"there is no CUDA driver: libcuda\.so\.1 cannot be loaded"):
        await rig(backend="tensorrt", model=str(engine)).worker.start()
