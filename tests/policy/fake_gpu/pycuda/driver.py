"""What the backend uses of pycuda and of a GPU, without either: for the order of the calls, not for their speed.

Work that is put into a stream is done when somebody waits for it, and not before: who reads too early, reads old
values. The names and arguments are pycuda's (doc/driver.rst there).
"""

import numpy as np

calls: list[str] = []
"""What was called, in order."""
memory: dict[int, np.ndarray] = {}
"""Device memory by its address."""
streams: dict[int, "Stream"] = {}
"""By their handles."""
_pinned: list[np.ndarray] = []


class Error(Exception):
    pass


class event_flags:
    DEFAULT, BLOCKING_SYNC, DISABLE_TIMING = 0, 1, 2


class Context:
    def push(self):
        calls.append("push")

    @staticmethod
    def pop():
        calls.append("pop")


class Device:
    def __init__(self, number):
        calls.append(f"device {number}")

    def retain_primary_context(self):
        return Context()

    def compute_capability(self):
        return (8, 7)

    def name(self):
        return "Fake"


class Stream:
    def __init__(self, flags=0):
        self.handle = 7000 + len(streams)
        streams[self.handle] = self
        self.queue = []
        self.captured = None
        """Work that is captured instead of queued."""

    def put(self, name, work):
        if self.captured is not None:
            calls.append(f"capture {name}")
            self.captured.append(work)
        else:
            calls.append(name)
            self.queue.append(work)


class Event:
    def __init__(self, flags=0):
        assert flags == event_flags.BLOCKING_SYNC | event_flags.DISABLE_TIMING
        self.stream = None

    def record(self, stream=None):
        calls.append("record")
        self.stream = stream

    def synchronize(self):
        calls.append("wait")
        work, self.stream.queue = self.stream.queue, []
        for each in work:
            each()


class DeviceAllocation:
    def __init__(self, size):
        self.address = 1000 + 256 * len(memory)
        memory[self.address] = np.zeros(size, np.uint8)

    def __int__(self):
        return self.address


def init(flags=0):
    calls.append("init")


def pagelocked_empty(shape, dtype, order="C", mem_flags=0):
    _pinned.append(np.full(shape, 77, dtype))
    return _pinned[-1]


def mem_alloc(size):
    return DeviceAllocation(size)


def memcpy_htod_async(dest, src, stream=None):
    assert any(src is each for each in _pinned), "an asynchronous copy needs pinned memory"
    stream.put("to device", lambda: memory[dest.address].__setitem__(slice(None), src.reshape(-1).view(np.uint8)))


def memcpy_dtoh_async(dest, src, stream=None):
    assert any(dest is each for each in _pinned), "an asynchronous copy needs pinned memory"
    stream.put("to host", lambda: dest.reshape(-1).view(np.uint8).__setitem__(slice(None), memory[src.address]))
