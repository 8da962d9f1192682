"""openpi's ActionChunkBroker, in the interpreter that has `openpi-client`."""

import numpy as np
from channel import hear, serve, tell
from openpi_client.action_chunk_broker import ActionChunkBroker
from openpi_client.base_policy import BasePolicy


class Policy(BasePolicy):
    """The policy is at the other end of the pipe, and time passes there while it thinks."""

    def infer(self, obs):
        tell({"infer": True})
        return {"actions": np.array(hear())}

    def reset(self):
        pass


class Broker:
    def reset(self, execute):
        self._broker = ActionChunkBroker(Policy(), action_horizon=execute)

    def step(self):
        return self._broker.infer({})["actions"].tolist()


serve(Broker())
