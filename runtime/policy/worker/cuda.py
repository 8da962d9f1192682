"""The CUDA driver, called directly: whether there is one, and graphs, which pycuda does not have.

Names and arguments as in cuda.h of CUDA 11.4 to 13. Runs in the worker's interpreter: Python 3.9 and the standard
library.
"""

from __future__ import annotations

import ctypes
from typing import Any, Callable

from runtime.policy.worker.errors import BackendError

_LIBRARY = "libcuda.so.1"
_CAPTURE_THREAD_LOCAL = 1
"""CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: other threads may go on allocating meanwhile."""


class CudaError(BackendError):
    """The driver has refused a call."""


class Cuda:
    """The driver, initialised."""

    def __init__(self) -> None:
        """Raises BackendError when there is no driver, or no GPU that it could use."""
        try:
            self._driver = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise BackendError(
                f"there is no CUDA driver: {_LIBRARY} cannot be loaded ({error}); install NVIDIA's driver, or let "
                "the service see it"
            ) from error
        count = ctypes.c_int()
        try:
            self._call("cuInit", ctypes.c_uint(0))
            self._call("cuDeviceGetCount", ctypes.byref(count))
        except CudaError as error:
            raise BackendError(
                f"CUDA cannot be used: {error}; see what `nvidia-smi` says, and whether the service may open the "
                "GPU's device files"
            ) from error
        self.devices = count.value
        """Number of GPUs."""
        if not self.devices:
            raise BackendError("CUDA cannot be used: the driver finds no GPU; see what `nvidia-smi` says")

    def capture(self, stream: int, work: Callable[[], None]) -> Graph:
        """The graph of what `work` puts into `stream`, a handle; nothing of it is executed.

        Raises CudaError, and what `work` raises. The stream can be used again in any case.
        """
        handle, graph = ctypes.c_void_p(stream), ctypes.c_void_p()
        self._call("cuStreamBeginCapture_v2", handle, ctypes.c_int(_CAPTURE_THREAD_LOCAL))
        try:
            work()
        except BaseException:
            self._driver.cuStreamEndCapture(handle, ctypes.byref(graph))
            raise
        self._call("cuStreamEndCapture", handle, ctypes.byref(graph))
        executable = ctypes.c_void_p()
        try:
            self._call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_ulonglong(0))
        finally:
            self._driver.cuGraphDestroy(graph)
        return Graph(self, executable, handle)

    def _call(self, name: str, *arguments: Any) -> None:
        result = getattr(self._driver, name)(*arguments)
        if result:
            text = ctypes.c_char_p()
            self._driver.cuGetErrorString(ctypes.c_int(result), ctypes.byref(text))
            raise CudaError(f"{name}: {(text.value or b'unknown error').decode()} ({result})")


class Graph:
    """Work that was captured: launching it costs the CPU one call, however many kernels it holds."""

    def __init__(self, cuda: Cuda, executable: ctypes.c_void_p, stream: ctypes.c_void_p) -> None:
        self._cuda = cuda
        self._executable = executable
        self._stream = stream

    def launch(self) -> None:
        """Put the work into the stream that it was captured from. Raises CudaError."""
        self._cuda._call("cuGraphLaunch", self._executable, self._stream)
