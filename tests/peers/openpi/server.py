"""A policy server like openpi's, which is in no package: what its loop does, with openpi-client's own messages.

Runs in the environment of openpi-client. Argument: the port, 0 for any; it is printed.
"""

import asyncio
import sys
import traceback

import numpy as np
import websockets.asyncio.server
from openpi_client import base_policy, msgpack_numpy

HORIZON, SIZE = 4, 3


class Ramp(base_policy.BasePolicy):
    """Action i is [i, i, i] plus the sum of "observation/state"; fails without one."""

    def infer(self, obs):
        assert isinstance(obs["observation/state"], np.ndarray)
        state = obs["observation/state"]
        assert state.dtype == np.float32
        actions = np.arange(HORIZON)[:, None] + np.full((HORIZON, SIZE), state.sum())
        if "plan" in obs:
            actions[: len(obs["plan"])] = obs["plan"]
            actions[obs["delay"] :] += 100
        return {"actions": actions, "prompt_length": np.int64(len(obs.get("prompt", "")))}


async def handle(connection):
    packer = msgpack_numpy.Packer()
    await connection.send(packer.pack({"continue_plan": True, "reset_pose": np.zeros(3)}))
    policy = Ramp()
    async for message in connection:
        try:
            await connection.send(packer.pack(policy.infer(msgpack_numpy.unpackb(message))))
        except Exception:
            await connection.send(traceback.format_exc())
            await connection.close(1011, "Internal server error. Traceback included in previous frame.")
            raise


async def main():
    port = int(sys.argv[1])
    async with websockets.asyncio.server.serve(
        handle, "127.0.0.1", port, compression=None, max_size=None
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
