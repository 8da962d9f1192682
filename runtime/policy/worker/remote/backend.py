"""A policy on a server, whatever it speaks: what is asked, what may be asked, what becomes of the answer.

Runs in the worker's interpreter: Python 3.9, numpy and the standard library only.
"""

from __future__ import annotations

from typing import Any, Callable, Mapping, Protocol

import numpy as np
import numpy.typing as npt

from runtime.policy.worker.errors import BackendError
from runtime.policy.worker.remote.base import Link, Peer
from runtime.policy.worker.remote.options import RemoteOptions
from runtime.policy.worker.remote.parts import Parts

PLAN = "plan"
"""The server's name for the plan that it continues, float32, shape (K, A), in its own numbers."""
DELAY = "delay"
"""The server's name for how many rows of it are expected to have run when the answer arrives."""

_Vector = npt.NDArray[np.float32]


class PolicyPeer(Peer, Protocol):
    """A peer that takes an observation by names, and answers with the actions as the server gave them."""

    continues: bool
    """The server said, when it was last reached, that it can continue a plan: PLAN and DELAY go with that."""


class RemoteBackend:
    """A `Backend` whose model is elsewhere."""

    def __init__(self, name: str, options: RemoteOptions, peer: PolicyPeer) -> None:
        """Connects without waiting for it. Raises BackendError."""
        self._options = options
        self._parts = Parts(name, options.keys)
        self._peer = peer
        self._link = Link(peer, options.url, options.deadline_s)
        self._prompt = ""
        self._pictures: Mapping[str, npt.NDArray[Any]] = {}
        self._told = False
        """The daemon was told that plans can be continued, because we were asked."""

    @property
    def set_task(self) -> Callable[[str], None] | None:
        """As of a `Backend`; None where the server has no name for a prompt."""
        return self._set_task if self._options.prompt else None

    def _set_task(self, prompt: str) -> None:
        self._prompt = prompt

    def see(self, pictures: Mapping[str, npt.NDArray[Any]]) -> None:
        """As of a `Backend`."""
        self._pictures = pictures

    def infer(self, observation: _Vector) -> npt.NDArray[Any]:
        """The server's actions. Raises Unavailable, at the deadline at the latest."""
        return self._ask(observation, {})

    @property
    def continue_plan(self) -> Callable[[_Vector, _Vector, int], npt.NDArray[Any]] | None:
        """As of a `Backend`; None while the server has not said that it can."""
        self._told = self._told or self._peer.continues
        return self._continue_plan if self._told else None

    def close(self) -> None:
        """Leave the server alone from now on."""
        self._link.close()

    def _continue_plan(self, observation: _Vector, plan: _Vector, delay: int) -> npt.NDArray[Any]:
        try:
            return self._ask(observation, {PLAN: plan, DELAY: delay})
        finally:
            # What answered may be another server by now. The daemon has to hear that from a new worker.
            if not self._peer.continues:
                raise BackendError(f"{self._options.url}: the server does not continue plans any more")

    def _ask(self, observation: _Vector, more: dict[str, Any]) -> npt.NDArray[Any]:
        request = {**self._parts.of(observation, self._pictures), **more}
        if self._options.prompt:
            request[self._options.prompt] = self._prompt
        return self._options.chunk(self._link.ask(request))
