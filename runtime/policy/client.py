"""The daemon's side of the policy worker: asks it, judges what it answers, replaces it when it fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from runtime.child.backoff import Backoff
from runtime.child.process import ChildProcess
from runtime.events import Events
from runtime.policy.boot import arguments
from runtime.policy.chunk import Chunk
from runtime.policy.errors import PolicyError
from runtime.policy.finite import all_finite
from runtime.policy.latency import Latency
from runtime.policy.policy import Failure
from runtime.policy.spec import WorkerSpec
from runtime.policy.worker import wire
from runtime.policy.worker.memory import SharedMemory, create

# From a polite request to leave to SIGKILL.
_GRACE_S = 1.0

_WORDS: dict[Failure, str] = {
    "crashed": "crashed",
    "hung": "hangs",
    "nan": "gave numbers that are not finite",
    "wrong_shape": "gave a wrong shape",
    "stale": "gave a stale chunk",
    "error": "failed",
    "unavailable": "has no answer",
}


class PolicyWorker:
    """A policy in a process of its own. Every failure is an event, and a restart with back-off.

    `on_chunk` is called on the loop's thread. Nothing here blocks the loop; `request` costs microseconds.
    Shared memory belongs to it from its construction on: `close` it, started or not.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        events: Events,
        on_chunk: Callable[[Chunk], None],
        between_ticks: Callable[[Callable[[], None]], None] = lambda work: work(),
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`between_ticks`: does a piece of work, now or a little later, where it makes no tick late."""
        self.ready = False
        self.busy = False
        self.failures: Counter[Failure] = Counter()
        self.latency = Latency()
        self.inference = Latency()
        self.restarts = 0
        self.can = wire.Can(0)
        self._spec = spec
        self._events = events
        self._on_chunk = on_chunk
        self._between_ticks = between_ticks
        self._clock = clock
        joints = len(spec.curve["held"]) if spec.curve else 0
        self._descriptor = create(spec.observation_size, spec.horizon, spec.action_size, joints)
        memory = SharedMemory(self._descriptor)
        self.observation = memory.observation
        self.plan = memory.plan
        self._chunk = memory.chunk
        self._curve = memory.curve if spec.curve else None
        # The worker asks the kernel to end with the thread that spawned it: this one lives as long as we do.
        self._executor = ThreadPoolExecutor(1, "policy-spawn")
        self._backoff = Backoff()
        self._loop: asyncio.AbstractEventLoop
        self._process: ChildProcess | None = None
        self._hello: asyncio.Future[wire.Hello] | None = None
        self._failed: asyncio.Future[float] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._sequence = 0
        self._t0_ns = 0
        self._asked_ns = 0
        self._unread = b""
        self._task = self._told = ""
        """What is to be done, and what the worker knows of that."""
        self.away = False

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the worker and wait until its model is warm, or not to be had for the time being.

        Raises PolicyError in the worker's own words.
        """
        self._loop = asyncio.get_running_loop()
        try:
            await self._launch()
        except BaseException:
            await self.close()
            raise
        self._keeper = asyncio.create_task(self._keep_running())

    def request(self, t0_ns: int, known: int = 0, delay: int = 0) -> bool:
        """Ask for a chunk for `observation` whose action 0 is meant for `t0_ns`. False when not ready or busy.

        `known`: so many rows of `plan` are to be continued; `delay`: so many of those run until the chunk arrives.
        """
        process = self._process
        if not self.ready or self.busy or process is None:
            return False
        self._sequence += 1
        self._t0_ns = t0_ns
        # Before it is sent: the worker may have begun before `send` returns, and the chunk would look too young.
        self._asked_ns = self._clock()
        try:
            if self._told != self._task:
                process.send(wire.Task(self._task).pack())
                self._told = self._task
            process.send(wire.Request(self._sequence, t0_ns, known, delay).pack())
        except OSError:
            # It has just died: the descriptor that says so is already readable.
            return False
        self.busy = True
        return True

    def set_task(self, prompt: str) -> None:
        """What to do from the next request on; without effect on a policy that has no tasks."""
        # Told with the request: the worker is idle then, so its socket has room, however often this is called.
        self._task = prompt

    async def close(self) -> None:
        """Ask the worker to leave, end it when it does not, give everything back."""
        self.ready = self.busy = False
        self._failed = None  # whatever becomes of the worker from now on is no failure
        if self._keeper is not None:
            self._keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        await self._end_process(_GRACE_S)
        if self._descriptor >= 0:
            # Arrays keep the mapping alive, so let go of them; a caller's late write then harms nobody.
            self.observation = np.zeros_like(self.observation)
            self.plan = np.zeros_like(self.plan)
            self._chunk = np.zeros_like(self._chunk)
            self._curve = None
            os.close(self._descriptor)
            self._descriptor = -1
            self._executor.shutdown()

    async def _launch(self) -> None:
        """One attempt: a worker that has said hello, or PolicyError and no process."""
        self._hello = hello = self._loop.create_future()
        task = self._task
        try:
            self._process = process = await ChildProcess.start(
                arguments(self._spec, task),
                self._descriptor,
                self._executor,
                self._on_message,
                tuple(self._spec.cameras.values()),
            )
        except OSError as error:
            hint = "; policy.python must name a Python interpreter" if error.filename else ""
            raise PolicyError(f"the policy worker cannot start: {error}{hint}") from error
        try:
            await asyncio.wait(
                {hello, process.exited},
                timeout=self._spec.load_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not hello.done():
                raise PolicyError(f"the policy worker cannot start: {self._why_not_ready(process)}")
            said = hello.result()
            if said.status not in (wire.OK, wire.UNAVAILABLE):
                raise PolicyError(f"the policy worker cannot start: {said.text}")
        except BaseException:
            await self._end_process()
            raise
        self._failed = self._loop.create_future()
        process.exited.add_done_callback(partial(self._on_exit, process))
        self._on_hello(said, task)

    def _on_hello(self, said: wire.Hello, task: str) -> None:
        """`task`: what the worker was told at its start."""
        process = self._process
        if process is None or self.ready:
            return
        if said.status == wire.UNAVAILABLE:
            self._hello = self._loop.create_future()
            self._hello.add_done_callback(lambda hello: self._on_hello(hello.result(), task))
            self._unavailable(said.text)
            self._expect_hello(process, self._hello)
            return
        if said.status != wire.OK:
            self._fail("error", said.text)
            return
        self._backoff.ready(self._clock())
        self.can = wire.Can(said.can)
        self.ready = True
        self._told = task
        self._available()
        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watch()
        self._events.emit(
            "policy.ready",
            f"policy worker is ready: {said.text}",
            pid=process.pid,
            load_s=said.load_ns / 1e9,
            warm_up_s=said.warm_ns / 1e9,
            restarts=self.restarts,
        )

    def _expect_hello(self, process: ChildProcess, hello: asyncio.Future[wire.Hello]) -> None:
        """Look for a hang in the next warm-up."""

        def look() -> None:
            # When it was the loop that was held up, the hello lies here already.
            process.receive()
            self._read()
            if not hello.done() and not process.lost:
                self._fail("hung", f"it was not heard of for {self._spec.load_timeout_s:g} s after its last try")

        if self._watchdog is not None:
            self._watchdog.cancel()
        self._watchdog = self._loop.call_later(self._spec.load_timeout_s, look)

    def _why_not_ready(self, process: ChildProcess) -> str:
        if not process.exited.done():
            return f"it was not ready {self._spec.load_timeout_s:g} s after its start"
        return "; ".join([process.exited.result(), *process.last_words()[-3:]])

    async def _keep_running(self) -> None:
        while self._failed is not None:
            wait_s = await self._failed
            await self._end_process()
            while True:
                await asyncio.sleep(wait_s)
                self.restarts += 1
                try:
                    await self._launch()
                    break
                except PolicyError as error:
                    wait_s = self._note("error", str(error))

    async def _end_process(self, grace_s: float = 0.0) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()
        process, self._process = self._process, None
        self._unread = b""
        if process is not None:
            await process.close(grace_s)

    def _fail(self, failure: Failure, cause: str) -> None:
        """The worker is no good any more; `_keep_running` replaces it. Only the first cause counts."""
        if self._failed is None or self._failed.done():
            return
        self.ready = self.busy = False
        self._failed.set_result(self._note(failure, cause))

    def _note(self, failure: Failure, cause: str) -> float:
        """Count a failure and tell it. Returns the seconds to wait before the restart."""
        wait_s = self._backoff.failed(self._clock())
        self.failures[failure] += 1
        self._events.emit(
            f"policy.{failure}",
            f"policy worker {_WORDS[failure]}: {cause}; restart in {wait_s:g} s",
            level="error",
            cause=cause,
            restart_in_s=wait_s,
            last_words="\n".join(self._process.last_words()) if self._process is not None else "",
        )
        return wait_s

    def _on_exit(self, process: ChildProcess, exited: asyncio.Future[str]) -> None:
        if process is self._process:
            self._fail("crashed", exited.result())

    def _watch(self) -> None:
        """Look for a hang. One timer for all requests: setting one for each would cost the tick."""
        process = self._process
        if process is None or not self.ready:
            return
        remaining_s = self._spec.timeout_s
        if self.busy:
            remaining_s -= (self._clock() - self._asked_ns) / 1e9
            if remaining_s <= 0:
                # When it was the loop that was held up, the reply lies here already.
                process.receive()
                self._read()
                if self.busy and not process.lost:
                    self._fail("hung", f"no answer {self._spec.timeout_s:g} s after the request")
                    return
                remaining_s = self._spec.timeout_s
        # uvloop counts in milliseconds: less would come back at once.
        self._watchdog = self._loop.call_later(max(remaining_s, 0.001), self._watch)

    def _on_message(self, message: bytes) -> None:
        self._unread = message
        self._between_ticks(self._read)

    def _read(self) -> None:
        message, self._unread = self._unread, b""
        if not message:
            return
        try:
            said = wire.parse(message)
        except ValueError as error:
            self._fail("error", str(error))
            return
        if isinstance(said, wire.Reply):
            self._on_reply(said)
        elif self._hello is not None and not self._hello.done():
            self._hello.set_result(said)

    def _on_reply(self, reply: wire.Reply) -> None:
        if not self.ready:
            return
        now_ns = self._clock()
        if not self.busy or (reply.sequence, reply.t0_ns) != (self._sequence, self._t0_ns):
            self._fail("stale", f"it answered request {reply.sequence}, expected {self._sequence}")
            return
        self.busy = False
        if reply.status == wire.UNAVAILABLE:
            self._unavailable(reply.text)
            return
        self._available()
        actions = self._chunk.copy()
        curve = self._curve.copy() if self._curve is not None else None
        max_age_ns = self._spec.max_age_s * 1e9
        if reply.status == wire.WRONG_SHAPE:
            self._fail("wrong_shape", reply.text)
        elif reply.status != wire.OK:
            self._fail("error", reply.text)
        elif not all_finite(actions if curve is None else curve):
            bad = ~np.isfinite(actions)
            self._fail("nan", f"{bad.sum()} of {bad.size} values, the first in action {bad.any(axis=1).argmax()}")
        elif reply.done_ns - self._asked_ns > max_age_ns:
            self._fail("stale", self._age_words(reply.done_ns - self._asked_ns))
        elif now_ns - self._asked_ns > max_age_ns:
            # The worker was in time and this loop was not: dropping the chunk is enough.
            self.failures["stale"] += 1
            self._events.emit(
                "policy.stale",
                f"dropped a chunk that the loop took too late: {self._age_words(now_ns - self._asked_ns)}",
                level="warning",
            )
        else:
            latency_ns = now_ns - self._asked_ns
            self.latency.add(latency_ns)
            self.inference.add(reply.infer_ns)
            frames = dict(zip(self._spec.cameras, reply.frames, strict=False))
            chunk = Chunk(reply.t0_ns, actions, latency_ns, reply.sequence, curve, reply.uncertainty, frames)
            self._on_chunk(chunk)

    def _unavailable(self, why: str) -> None:
        """No chunk this time: the worker is well, and asked again."""
        self.failures["unavailable"] += 1
        if not self.away:
            self.away = True
            self._events.emit("policy.unavailable", f"the policy has no answer: {why}", level="warning", cause=why)

    def _available(self) -> None:
        if self.away:
            self.away = False
            self._events.emit("policy.available", "the policy answers again")

    def _age_words(self, age_ns: int) -> str:
        return f"{age_ns / 1e9:.3f} s after its observation, allowed are {self._spec.max_age_s:g} s"
