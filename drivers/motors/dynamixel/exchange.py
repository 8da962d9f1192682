"""Requests that wait for their answers: what starting, arming and stopping is made of. Not for the tick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from drivers.motors.dynamixel import frames
from drivers.motors.dynamixel.frames import Status
from drivers.motors.dynamixel.stream import PacketStream
from drivers.motors.dynamixel.table import Register
from drivers.ports.serial import SerialPort

# The vendor's SDK waits 34 ms and the time on the wire. A computer under load may be late by more, and waiting
# costs something only when a motor is missing.
TIMEOUT_S = 0.1
TRIES = 3
_LONGEST = 255


class Exchange:
    """Request and response over one port, with a timeout and retries; while one runs, nobody else may read."""

    def __init__(self, port: SerialPort, timeout_s: float = TIMEOUT_S) -> None:
        self._port = port
        self._timeout_s = timeout_s

    async def ask(
        self, request: Callable[[Sequence[int]], bytes], ids: Sequence[int], length: int, tries: int = TRIES
    ) -> dict[int, Status]:
        """Ask `ids` until all have answered with `length` bytes or an error, or the tries are used up.

        `request` makes the packet for the ids that are still missing. Answers carry no address: two requests
        in a row should differ in length, so that a late answer to the first cannot pass for the second's.
        """
        replies: dict[int, Status] = {}
        for _ in range(tries):
            missing = [ident for ident in ids if ident not in replies]
            if not missing or self._port.error is not None:
                break
            while self._port.read():
                pass
            if self._port.write(request(missing)):
                await self._collect(replies, missing, length)
        return replies

    async def ping(self, ident: int) -> tuple[int, int] | None:
        """Model number and firmware of a motor; None: no answer."""
        reply = (await self.ask(lambda _: frames.ping(ident), (ident,), 3)).get(ident)
        return None if reply is None else (reply.params[0] | reply.params[1] << 8, reply.params[2])

    async def read(self, ids: Sequence[int], address: int, length: int, tries: int = TRIES) -> dict[int, bytes]:
        """Registers of several motors. Who does not answer, or refuses, is missing in the result."""
        replies = await self.ask(lambda missing: frames.sync_read(missing, address, length), ids, length, tries)
        return {ident: reply.params for ident, reply in replies.items() if not reply.number}

    async def write(self, ident: int, address: int, data: bytes) -> str | None:
        """Write registers of one motor; None: it has confirmed, else what is wrong."""
        reply = (await self.ask(lambda _: frames.write(ident, address, data), (ident,), 0)).get(ident)
        return "no answer" if reply is None else reply.refusal

    async def set(self, ident: int, register: Register, value: int) -> str | None:
        """Write one register of one motor; None: it has confirmed, else what is wrong."""
        wrong = await self.write(ident, register.address, register.pack(value))
        return wrong and f"{register.name} ({register.address}) cannot be set to {value}: {wrong}"

    async def reboot(self, ident: int) -> None:
        """Restart a motor."""
        await self.ask(lambda _: frames.reboot(ident), (ident,), 0)

    def send(self, packet: bytes) -> bool:
        """Send what nobody answers."""
        return self._port.write(packet)

    async def _collect(self, replies: dict[int, Status], ids: Collection[int], length: int) -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        stream = PacketStream(_LONGEST)
        waiting = set(ids)

        def readable() -> None:
            for packet in stream.feed(self._port.read()):
                if (
                    isinstance(packet, Status)
                    and packet.id in waiting
                    and (packet.number or len(packet.params) == length)
                ):
                    replies[packet.id] = packet
                    waiting.discard(packet.id)
            if (not waiting or self._port.error is not None) and not done.done():
                done.set_result(None)

        descriptor = self._port.fileno()
        loop.add_reader(descriptor, readable)
        try:
            async with asyncio.timeout(self._timeout_s):
                await done
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(descriptor)
