"""Keeps a child process running: starts it, waits for its end, tells why, starts it again after a wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from runtime.child.backoff import Backoff
from runtime.child.process import ChildProcess


class ChildKeeper:
    """One life of the process after the other, until `close`. All methods are for the loop's thread."""

    def __init__(
        self,
        arguments: Callable[[], Sequence[str]],
        on_message: Callable[[bytes], None],
        watch: Callable[[ChildProcess], Awaitable[str]],
        on_failed: Callable[[str, float], None],
        memory: int | None = None,
        more: Sequence[int] = (),
        longest_s: float = 5.0,
        grace_s: float = 0.0,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`arguments`: its command line, asked for at each start. `memory`, `more`: see `ChildProcess.start`.
        `watch`: accompanies one life and calls `ready` when service has begun; it returns when the process has
        ended, or else why it must be replaced. `on_failed`: is told why there is no process now, and in how many
        seconds the next one is tried; `longest_s` at most. `grace_s`: from a request to leave to SIGKILL.
        """
        self.process: ChildProcess | None = None
        """None while there is none."""
        self.restarts = 0
        self._arguments = arguments
        self._on_message = on_message
        self._watch = watch
        self._on_failed = on_failed
        self._memory = memory
        self._more = more
        self._backoff = Backoff(longest_s=longest_s)
        self._grace_s = grace_s
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, None while there is none."""
        return self.process.pid if self.process is not None else None

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._task = asyncio.create_task(self._run())

    def ready(self) -> None:
        """Service began: long enough of it, and the next failure is taken for the first."""
        self._backoff.ready(self._clock())

    async def close(self) -> None:
        """End the process, started or not. Never raises."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        # A child may ask the kernel to end with the thread that spawned it: this one lives as long as we do.
        with ThreadPoolExecutor(1, "child-spawn") as executor:
            while True:
                cause = await self._live(executor)
                wait_s = self._backoff.failed(self._clock())
                self._on_failed(cause, wait_s)
                await asyncio.sleep(wait_s)
                self.restarts += 1

    async def _live(self, executor: Executor) -> str:
        """One life of the process. Returns why it is over."""
        try:
            process = await ChildProcess.start(
                self._arguments(), self._memory, executor, self._on_message, self._more
            )
        except OSError as error:
            return f"its process cannot start: {error}"
        self.process = process
        try:
            unfit = await self._watch(process)
        finally:
            self.process = None
            await process.close(self._grace_s)
        return unfit or process.end()
