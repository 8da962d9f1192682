"""How the programs that people use today run a policy: a loop at the policy's rate that sends one action a step.

The policy and the plant are those of everybody else. What decides when to ask and what becomes of a chunk is the
peers' own code, in their own interpreter; only time is simulated.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from configs.demo.expert import HORIZON, RATE, Array
from configs.demo.mechanisms import ACTION_NS, Delay, leap
from configs.demo.rollout import Policy, Seen, observation
from tests.bench.latency.peers.process import PeerProcess


class Steps:
    """One action each period of the policy, held until the next one."""

    waits = False
    """The loop waits for an action that is not there; otherwise it goes round without one."""

    def __init__(self, policy: Policy, delay: Delay) -> None:
        self.seams: list[float] = []
        self.disagreements: list[float] = []
        self._policy, self._delay = policy, delay
        self._action: Array | None = None
        """What was sent last."""
        self._sending = False
        self._next_ns = 0

    def tick(self, now_ns: int, seen: Seen, command: Array, goal: Array) -> bool:
        if now_ns >= self._next_ns:
            action = self.step(now_ns, seen)
            self._sending = action is not None
            if action is not None:
                self._action = action
            if self._sending or not self.waits:
                self._next_ns = now_ns + ACTION_NS
        if self._sending:
            goal[:] = self._action
        return self._sending

    def last_action(self, now_ns: int) -> Array:
        return np.zeros(7) if self._action is None else self._action

    def step(self, now_ns: int, seen: Seen) -> Array | None:
        """The action of this step; None: there is none, and the robot holds."""
        raise NotImplementedError

    def think(self, now_ns: int, seen: Seen, in_force: Array | None = None) -> tuple[int, Array]:
        """Ask the policy: when the chunk is there, and the chunk. `in_force`: the action of this step."""
        last = self.last_action(now_ns) if in_force is None else in_force
        return now_ns + self._delay(), self._policy(observation(seen, last))

    def note_seam(self, new: Array) -> None:
        """A chunk goes on with this action, where the one before went on with what was sent last."""
        if self._action is not None:
            self.seams.append(leap(new, self._action))


class WaitForChunk(Steps):
    """What openpi's broker does: when the actions are used up, the loop waits for a whole inference."""

    waits = True

    def __init__(self, policy: Policy, delay: Delay, execute: int) -> None:
        super().__init__(policy, delay)
        self._execute = execute
        self._coming: list[Array] = []
        self._there_ns = 0
        self._new = False

    def step(self, now_ns: int, seen: Seen) -> Array | None:
        if not self._coming:
            self._there_ns, chunk = self.think(now_ns, seen)
            self._coming, self._new = list(chunk[: self._execute]), True
        if now_ns < self._there_ns:
            return None
        action = self._coming.pop(0)
        if self._new:
            self.note_seam(action)
            self._new = False
        return action


class OpenpiBroker(Steps):
    """openpi_client.action_chunk_broker.ActionChunkBroker itself."""

    waits = True

    def __init__(self, policy: Policy, delay: Delay, execute: int, peer: PeerProcess) -> None:
        super().__init__(policy, delay)
        self._peer = peer
        peer.call("reset", execute)
        self._there_ns = 0
        self._waiting: Array | None = None
        self._new = False

    def step(self, now_ns: int, seen: Seen) -> Array | None:
        if self._waiting is None:

            def infer() -> Any:
                self._there_ns, chunk = self.think(now_ns, seen)
                self._new = True
                return chunk.tolist()

            self._waiting = np.array(self._peer.call("step", infer=infer))
        if now_ns < self._there_ns:
            return None
        action, self._waiting = self._waiting, None
        if self._new:
            self.note_seam(action)
            self._new = False
        return action


class LerobotQueue(Steps):
    """LeRobot's engine for real-time chunking around its own ActionQueue, with a policy that ignores what is left.

    Its thread asks as soon as no more than H - s actions are left, and drops as many actions of the chunk as its
    measure of the delay says.
    """

    def __init__(self, policy: Policy, delay: Delay, execute: int, peer: PeerProcess) -> None:
        super().__init__(policy, delay)
        self._peer, self._left = peer, HORIZON - execute
        peer.call("queue_reset")
        self._coming: tuple[int, Array] | None = None
        self._asked_ns = self._index = 0

    def step(self, now_ns: int, seen: Seen) -> Array | None:
        peer = self._peer
        self._merge(now_ns)
        if self._coming is None and peer.call("queue_size") <= self._left:
            self._asked_ns, self._index = now_ns, peer.call("queue_index")
            following = peer.call("queue_next")
            self._coming = self.think(now_ns, seen, None if following is None else np.array(following))
            self._merge(now_ns)
        action = peer.call("queue_get")
        return None if action is None else np.array(action)

    def _merge(self, now_ns: int) -> None:
        if self._coming is None or now_ns < self._coming[0]:
            return
        there_ns, chunk = self._coming
        self._coming = None
        before = self._peer.call("queue_next")
        delay = math.ceil((there_ns - self._asked_ns) / 1e9 * RATE)
        self._peer.call("queue_merge", chunk.tolist(), delay, self._index)
        after = self._peer.call("queue_next")
        if before is not None and after is not None:
            self.seams.append(leap(np.array(after), np.array(before)))
        elif after is not None:
            self.note_seam(np.array(after))


class LerobotAverage(Steps):
    """LeRobot's asynchronous inference: the client sends observations once its queue is short enough, the server
    thinks about the newest that it does not find too similar, and where chunks overlap the client averages."""

    def __init__(self, policy: Policy, delay: Delay, execute: int, peer: PeerProcess) -> None:
        super().__init__(policy, delay)
        self._peer, self._threshold = peer, (HORIZON - execute) / HORIZON
        peer.call("client_reset", 7, int(RATE), "weighted_average")
        self._seen: Seen | None = None
        """What the observation was in the server's queue."""
        self._coming: tuple[int, Array] | None = None

    def step(self, now_ns: int, seen: Seen) -> Array | None:
        peer = self._peer
        self._receive(now_ns)
        action = peer.call("client_get")
        if action is not None:
            self._action = np.array(action)
        if peer.call("client_size") / HORIZON <= self._threshold and peer.call(
            "client_observe", now_ns / 1e9, seen.position.tolist()
        ):
            self._seen = seen
        self._begin(now_ns)
        return None if action is None else self._action

    def _begin(self, now_ns: int) -> None:
        if self._coming is None and self._seen is not None and self._peer.call("server_take") is not None:
            self._coming, self._seen = self.think(now_ns, self._seen), None

    def _receive(self, now_ns: int) -> None:
        if self._coming is None or now_ns < self._coming[0]:
            return
        _, chunk = self._coming
        self._coming = None
        before = self._peer.call("client_next")
        self._peer.call("client_receive", chunk.tolist())
        after = self._peer.call("client_next")
        if before is not None and after is not None:
            self.seams.append(leap(np.array(after), np.array(before)))
        elif after is not None:
            self.note_seam(np.array(after))
        self._begin(now_ns)
