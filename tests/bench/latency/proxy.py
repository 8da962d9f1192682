"""A bad network between two ends of a TCP connection on this machine: delay, and loss as TCP shows it."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

SEGMENT = 1448
"""Bytes in a TCP segment on Ethernet."""
RTO_S = 0.2
"""Linux sends a segment again after at least this long, and twice as long each time after that, s."""


@dataclass(frozen=True)
class Network:
    """What the network does to what passes it."""

    uplink_s: float = 0.0
    """Added to everything on its way to the server, s."""
    loss: float = 0.0
    """Part of the segments that are lost, in both directions. What comes after them waits for them, as in TCP."""


class Proxy:
    """Passes connections on to a port of this machine, in a thread of its own."""

    def __init__(self, port: int, network: Network, seed: int = 0) -> None:
        """`port`: where the server listens; `self.port` is where this does."""
        self.port = 0
        self._target, self._network, self._random = port, network, random.Random(seed)
        self._stop: Callable[[], object]
        listens = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(listens)), daemon=True)
        self._thread.start()
        listens.wait()

    async def _serve(self, listens: threading.Event) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: loop.call_soon_threadsafe(stopped.set)
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        listens.set()
        await stopped.wait()
        server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        up = self._pass(reader, back, self._network.uplink_s)
        down = self._pass(there, writer, 0.0)
        # Python 3.11 would tell of connections that stand at the end as of a mistake.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(up, down)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
        loop, arrived = asyncio.get_running_loop(), 0.0
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                at, data = await queue.get()
                await asyncio.sleep(max(at - loop.time(), 0.0))
                if not data:
                    break
                writer.write(data)
            writer.close()

        delivery = asyncio.create_task(deliver())
        with suppress(OSError):
            while data := await reader.read(SEGMENT):
                arrived = max(arrived, loop.time() + delay_s + self._lost_s())
                queue.put_nowait((arrived, data))
        queue.put_nowait((max(arrived, loop.time() + delay_s), b""))
        with suppress(OSError):
            await delivery

    def _lost_s(self) -> float:
        """How much later a segment comes because it was lost, again and again."""
        late_s, wait_s = 0.0, RTO_S + self._network.uplink_s
        while self._random.random() < self._network.loss:
            late_s, wait_s = late_s + wait_s, 2 * wait_s
        return late_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()
        self._thread.join()
