"""LeRobot's ActionQueue, and its asynchronous inference, in the interpreter that has them."""

import threading
from queue import Queue
from types import SimpleNamespace

import torch
from channel import serve
from lerobot.async_inference.configs import PolicyServerConfig, get_aggregate_function
from lerobot.async_inference.helpers import TimedAction, TimedObservation
from lerobot.async_inference.policy_server import PolicyServer
from lerobot.async_inference.robot_client import RobotClient
from lerobot.policies.rtc.action_queue import ActionQueue
from lerobot.policies.rtc.configuration_rtc import RTCConfig


class Peer:
    # -- the queue of its real-time chunking, which replaces what is left

    def queue_reset(self):
        self._queue = ActionQueue(RTCConfig(enabled=True))

    def queue_index(self):
        return self._queue.get_action_index()

    def queue_size(self):
        return self._queue.qsize()

    def queue_next(self):
        left = self._queue.get_left_over()
        return None if left is None or not len(left) else left[0].tolist()

    def queue_get(self):
        action = self._queue.get()
        return None if action is None else action.tolist()

    def queue_merge(self, chunk, delay, index_before):
        actions = torch.tensor(chunk, dtype=torch.float64)
        self._queue.merge(actions, actions, delay, index_before)

    # -- the asynchronous client averages where chunks overlap; the server leaves out what it has nearly seen

    def client_reset(self, joints, fps, aggregate):
        self._aggregate = get_aggregate_function(aggregate)
        self._client = SimpleNamespace(
            action_queue=Queue(),
            action_queue_lock=threading.Lock(),
            latest_action=-1,
            latest_action_lock=threading.Lock(),
        )
        self._must_go = True
        names = [f"joint_{i}.pos" for i in range(joints)]
        self._server = PolicyServer(PolicyServerConfig(fps=fps))
        self._server.lerobot_features = {
            "observation.state": {"dtype": "float32", "shape": (joints,), "names": names}
        }
        self._names = names

    def client_size(self):
        return self._client.action_queue.qsize()

    def client_get(self):
        if self._client.action_queue.empty():
            return None
        timed = self._client.action_queue.get_nowait()
        self._client.latest_action = timed.get_timestep()
        return timed.get_action().tolist()

    def client_next(self):
        queue = self._client.action_queue.queue
        return queue[0].get_action().tolist() if queue else None

    def client_observe(self, now, position):
        """Send an observation as the client's control loop does; whether the server takes it."""
        empty = self._client.action_queue.empty()
        observation = TimedObservation(
            timestamp=now,
            timestep=max(self._client.latest_action, 0),
            observation=dict(zip(self._names, position, strict=True)),
            must_go=self._must_go and empty,
        )
        if observation.must_go:
            self._must_go = False
        return self._server._enqueue_observation(observation)

    def server_take(self):
        """The timestep of the observation that the server begins to think about, None when it has none."""
        if self._server.observation_queue.empty():
            return None
        self._thinking_of = self._server.observation_queue.get_nowait()
        self._server._predicted_timesteps.add(self._thinking_of.get_timestep())
        self._server.last_processed_obs = self._thinking_of
        return self._thinking_of.get_timestep()

    def client_receive(self, chunk):
        """The answer has arrived."""
        of = self._thinking_of
        actions = self._server._time_action_chunk(
            of.get_timestamp(), list(torch.tensor(chunk, dtype=torch.float64)), of.get_timestep()
        )
        assert isinstance(actions[0], TimedAction)
        RobotClient._aggregate_action_queues(self._client, actions, self._aggregate)
        self._must_go = True


serve(Peer())
