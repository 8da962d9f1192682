"""The policy inside the tick, as most programs run it today: for demonstration only.

`request` blocks for a whole inference, and the chunk counts from the moment when it is done.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.events import Events
from runtime.policy.chunk import Chunk
from runtime.policy.errors import PolicyError
from runtime.policy.latency import Latency
from runtime.policy.policy import Failure
from runtime.policy.spec import WorkerSpec
from runtime.policy.worker.backends import abilities, load, normalise, uncertainty
from runtime.policy.worker.errors import WrongShape, words
from runtime.policy.worker.wire import Can


class InlinePolicy:
    """Same use as `PolicyWorker`, without its process and therefore without its protection."""

    def __init__(
        self,
        spec: WorkerSpec,
        events: Events,
        on_chunk: Callable[[Chunk], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.ready = False
        self.busy = self.away = False
        self.observation = np.zeros(spec.observation_size, np.float32)
        self.plan = np.zeros((spec.horizon, spec.action_size), np.float32)
        self.can = Can(0)
        self.failures: Counter[Failure] = Counter()
        self.latency = Latency()
        self.inference = Latency()
        self.restarts = 0
        self._spec = spec
        self._events = events
        self._on_chunk = on_chunk
        self._clock = clock
        self._backend: Any = None
        self._task = ""
        self._sequence = 0

    async def start(self) -> None:
        """Load the model into this process and warm it up. Raises PolicyError."""
        spec = self._spec
        sys.path[:0] = [path for path in spec.paths if path not in sys.path]
        try:
            self._backend = load(spec.backend, spec.model, {**spec.options, **spec.given})
            self.can = abilities(self._backend) & Can.TASK
            self.set_task(self._task)
            normalise(self._backend.infer(np.zeros_like(self.observation)), spec.horizon, spec.action_size)
        except Exception as error:
            raise PolicyError(f"the policy cannot start: {words(error)}") from error
        self.ready = True
        self._events.emit("policy.ready", f"the policy is ready inside the tick: backend {spec.backend}")

    def request(self, t0_ns: int, known: int = 0, delay: int = 0) -> bool:
        """Run a whole inference and deliver its chunk, stamped with the time when it is done.

        It continues no plan: while it thinks, there is none.
        """
        if not self.ready or self._backend is None:
            return False
        self._sequence += 1
        start_ns = self._clock()
        try:
            output = self._backend.infer(self.observation.copy())
            actions = normalise(output, self._spec.horizon, self._spec.action_size).astype(np.float64)
            unsure = uncertainty(self._backend)
        except Exception as error:
            self._fail("wrong_shape" if isinstance(error, WrongShape) else "error", words(error))
            return True
        remaining_ns = start_ns + int(self._spec.latency_s * 1e9) - self._clock()
        if remaining_ns > 0:
            time.sleep(remaining_ns / 1e9)
        if not np.isfinite(actions).all():
            self._fail("nan", "its output is not finite")
            return True
        now_ns = self._clock()
        self.inference.add(now_ns - start_ns)
        self.latency.add(now_ns - start_ns)
        self._on_chunk(Chunk(now_ns, actions, now_ns - start_ns, self._sequence, uncertainty=unsure))
        return True

    def set_task(self, prompt: str) -> None:
        """What to do from the next request on; without effect on a policy that has no tasks."""
        self._task = prompt
        if self.can & Can.TASK:
            self._backend.set_task(prompt)

    async def close(self) -> None:
        """Let go of the model."""
        self.ready = False
        if callable(getattr(self._backend, "close", None)):
            self._backend.close()
        self._backend = None

    def _fail(self, failure: Failure, cause: str) -> None:
        self.failures[failure] += 1
        self._events.emit(f"policy.{failure}", f"policy: {cause}", level="error", cause=cause)
