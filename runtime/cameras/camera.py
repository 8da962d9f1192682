"""A camera, seen from the daemon: keeps its process running, knows whether its frames can be believed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from runtime.child.begin import MEMORY, SOCKET
from runtime.child.foreign import arguments
from runtime.child.keeper import ChildKeeper
from runtime.child.process import ChildProcess
from runtime.config.cameras import Camera as Options
from runtime.config.cameras import EmulatedCamera
from runtime.config.models import Emulated
from runtime.events import Events
from runtime.policy.worker.frames import FrameLayout, FrameReader, create

LOOK_S = 0.05
"""Between two looks whether frames come."""
FIRST_FRAME_S = 15.0
"""A process that has given no frame so long after its start is replaced: models are loaded, devices find their
exposure."""
_HOPELESS_S = 3.0
"""So long a stalled camera is waited for before its process is replaced."""
_WORDS = {
    "stalled": "gives no frames any more",
    "frozen": "shows the same picture to the last bit",
    "black": "shows nothing but black",
}


class Camera:
    """All of it happens in another process; the daemon has its frames in shared memory, and pays for none of them.

    Memory belongs to it from its construction on: `close` it, started or not.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        settings: Mapping[str, Any],
        events: Events,
        cpus: Sequence[int] = (),
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`settings`: what its source is opened with. `cpus`: where its process may run, empty for anywhere."""
        self.name = name
        self.options = options
        self.layout = FrameLayout(options.width, options.height)
        self.descriptor = create(self.layout)
        """The shared memory; see `runtime.policy.worker.frames`."""
        self.fault = "starting"
        """Empty while all is well, else `starting`, `lost`, `stalled`, `frozen` or `black`."""
        self.about = ""
        """What was opened, and why there is nothing, in words."""
        self._reader = FrameReader(self.descriptor)
        self._settings = dict(settings)
        self._events = events
        self._cpus = list(cpus)
        self._clock = clock
        self._picture = ""
        """What the process says of the picture."""
        self._good_ns = 0
        self._keeper = ChildKeeper(
            self._arguments, self._on_message, self._watch, self._on_lost, self.descriptor, clock=clock
        )

    @property
    def frames(self) -> int:
        """Frames since the daemon's start."""
        return self._reader.newest()[0]

    @property
    def stamp_ns(self) -> int:
        """Capture time of the newest frame that can be believed, CLOCK_MONOTONIC, ns; 0 before the first."""
        return self._good_ns if self.fault in ("frozen", "black") else self._reader.newest()[1]

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._keeper.pid

    @property
    def restarts(self) -> int:
        """Of the process, since the daemon's start."""
        return self._keeper.restarts

    def start(self) -> None:
        """Begin, on the running event loop; it does not wait for a frame."""
        self._keeper.start()

    async def close(self) -> None:
        """End the process and give the memory back. Never raises."""
        await self._keeper.close()
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def status(self, now_ns: int) -> dict[str, Any]:
        """For `reflexctl status`."""
        return {
            "name": self.name,
            "state": self.fault or "well",
            "age_s": round((now_ns - self.stamp_ns) / 1e9, 4) if self.stamp_ns else None,
            "frames": self.frames,
            "restarts": self.restarts,
            "about": self.about,
        }

    def _arguments(self) -> tuple[str, ...]:
        settings = {
            "parent": os.getpid(),
            "cpus": self._cpus,
            "socket": SOCKET,
            "memory": MEMORY,
            "camera": self._settings,
        }
        python = self.options.python or sys.executable
        return arguments(python, f"cameras.{self.name}.python", "runtime.cameras.worker.main", settings)

    async def _watch(self, process: ChildProcess) -> str:
        """Look after one life of the process. Returns why it must be replaced, empty when it has ended."""
        self._picture = ""
        judge = _Judge(self._clock(), self.frames, self.options.stalled / self.options.rate)
        while not process.exited.done():
            await asyncio.wait({process.exited}, timeout=LOOK_S)
            number, stamp_ns = self._reader.newest()
            if judge.look(number, self._clock()):
                self._keeper.ready()
            if judge.hopeless:
                return f"no frame for {judge.waited_s:.1f} s"
            if judge.number:
                self._judged("stalled" if judge.stalled else self._picture, stamp_ns)
        return ""

    def _on_lost(self, cause: str, wait_s: float) -> None:
        self.about = cause
        self._tell("lost", f"is lost: {cause}; next attempt in {wait_s:g} s", reason=cause)

    def _judged(self, fault: str, stamp_ns: int) -> None:
        """What holds now. `stamp_ns`: capture time of the newest frame."""
        if not fault:
            self._good_ns = stamp_ns
        if fault == self.fault:
            return
        if fault:
            self._tell(fault, _WORDS[fault])
        elif self.fault == "starting":
            self.fault = ""
            self._events.emit("camera.ready", f"camera {self.name} is ready: {self.about}", camera=self.name)
        else:
            self.fault = ""
            self._events.emit("camera.back", f"camera {self.name} is back", camera=self.name)

    def _tell(self, fault: str, words: str, **fields: str) -> None:
        """A fault begins, or goes on: an event for the first time that a camera is lost, and not for each try."""
        if fault != self.fault:
            text = f"camera {self.name} {words}"
            self._events.emit(f"camera.{fault}", text, level="warning", camera=self.name, **fields)
        self.fault = fault

    def _on_message(self, message: bytes) -> None:
        try:
            told = json.loads(message)
            self.about = str(told.get("about", self.about))
            self._picture = told["fault"] if told.get("fault") in ("frozen", "black") else ""
        except (ValueError, AttributeError):  # an exception here would end the daemon and cut power
            self._events.emit(
                "camera.lost", f"camera {self.name} says something odd: {message!r:.200}", level="error"
            )


class _Judge:
    """Whether frames come, from their numbers alone."""

    def __init__(self, now_ns: int, number: int, stalled_s: float) -> None:
        """`number`: of the last frame of the process before this one."""
        self.number = 0
        """Of the newest frame of this process, 0 before the first."""
        self.stalled = False
        self.hopeless = False
        self.waited_s = 0.0
        self._before = number
        self._changed_ns = now_ns
        self._stalled_s = max(stalled_s, LOOK_S)

    def look(self, number: int, now_ns: int) -> bool:
        """`number`: of the newest frame. True when it is this process's first."""
        first = not self.number
        if number > max(self.number, self._before):
            self.number = number
            self._changed_ns = now_ns
        self.waited_s = (now_ns - self._changed_ns) / 1e9
        self.stalled = self.waited_s > self._stalled_s
        self.hopeless = self.waited_s > (self._stalled_s + _HOPELESS_S if self.number else FIRST_FRAME_S)
        return first and self.number > 0


def settings_of(name: str, options: Options, emulated: Emulated | None) -> dict[str, Any]:
    """What a camera's source is opened with; see `runtime.cameras.worker`."""
    settings = {"name": name, **options.model_dump(mode="json", exclude={"python", "max_age", "stalled"})}
    if isinstance(options, EmulatedCamera) and emulated is not None:
        settings |= {"model": str(emulated.model), "control": emulated.control}
    return settings
