"""Asking motors and waiting for their answers, all motors of a bus at once: for starting, arming and stopping."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from drivers.bus import BusCounters
from drivers.motors.damiao.frames import READ, WRITE, Parameter, is_parameter
from drivers.motors.damiao.motor import Motor
from drivers.ports.can import CanFrame, CanPort

ANSWER_S = 0.02
"""Time for an answer; motors need about 0.3 ms, a USB adapter some more."""
TRIES = 15
"""With every fifth frame lost in each direction, so many fail once in four million exchanges."""
_FULL_QUEUE_S = 0.001  # until frames that the port did not take are tried again
_NO_DESCRIPTOR_S = 0.001  # a port that cannot say when it is readable is looked at this often

Answer = TypeVar("Answer")


def is_feedback(motor: Motor, data: bytes) -> bool:
    """Whether data from the motor's reply id is feedback of that motor; for motors that stand."""
    return len(data) == 8 and data[0] & 0x0F == motor.low and not is_parameter(data, motor.id)


class Exchange:
    """Requests and replies outside of the tick. A motor that stays silent is simply not in the result."""

    def __init__(self, port: CanPort, motors: Iterable[Motor], counters: BusCounters) -> None:
        self._port = port
        self._motors = {motor.reply_id: motor for motor in motors}
        self._counters = counters
        self._quiet_at = 0.0
        self.elsewhere: dict[Motor, int] = {}
        """Motors that answered from another id than their reply id, and that id."""

    async def parameters(
        self, number: int, motors: Iterable[Motor], value: float | None = None
    ) -> dict[Motor, float]:
        """Read a parameter of motors, or write it; what each answered."""
        command = READ if value is None else WRITE
        requests = {motor: motor.parameter(command, number, value or 0) for motor in motors}

        def accept(motor: Motor, data: bytes) -> float | None:
            # Feedback can look like this too, so it counts only here, while the answer is awaited.
            if not is_parameter(data, motor.id):
                return None
            reply = Parameter.parse(data)
            return reply.value if (reply.command, reply.number) == (command, number) else None

        return await self.ask(requests, accept)

    async def feedback(self, requests: Mapping[Motor, bytes]) -> dict[Motor, bytes]:
        """Send frames that are answered with feedback; the eight data bytes of each motor's answer."""
        return await self.ask(requests, lambda motor, data: data if is_feedback(motor, data) else None)

    async def ask(
        self,
        requests: Mapping[Motor, bytes],
        accept: Callable[[Motor, bytes], Answer | None],
        keep: Callable[[Motor, Answer], bytes] | None = None,
    ) -> dict[Motor, Answer]:
        """Send every motor its frame, again to those that do not answer, and collect what `accept` takes.

        `keep` gives a frame that keeps the watchdog of a motor fed that has answered while others have not.
        """
        answers: dict[Motor, Answer] = {}
        repeats = 0
        for attempt in range(TRIES):
            frames = [frame for motor, frame in requests.items() if motor not in answers]
            if not frames:
                break
            repeats = attempt
            if keep is not None:
                frames = [keep(motor, answer) for motor, answer in answers.items()] + frames
            await self._attempt(frames, requests, accept, answers)
        if repeats:
            # The answer to the last repeat takes no longer than the first answer took.
            self._quiet_at = max(self._quiet_at, time.monotonic() + (repeats + 1) * ANSWER_S)
        return answers

    async def settle(self) -> None:
        """Wait until no late answer can come any more: in the tick, a parameter would pass for feedback."""
        while (left := self._quiet_at - time.monotonic()) > 0:
            await asyncio.sleep(left)
        self._port.receive()

    async def _attempt(
        self,
        frames: list[bytes],
        requests: Mapping[Motor, bytes],
        accept: Callable[[Motor, bytes], Answer | None],
        answers: dict[Motor, Answer],
    ) -> None:
        port, counters = self._port, self._counters
        end = time.monotonic() + ANSWER_S
        while (left := end - time.monotonic()) > 0:
            if port.reopen(time.monotonic_ns()) and frames:
                taken = port.send(frames)
                counters.sent += taken
                frames = frames[taken:]
            await self._readable(min(left, _FULL_QUEUE_S) if frames else left)
            for frame in port.receive():
                answer = self._match(frame, accept)
                if answer is not None and answer[0] in requests:
                    counters.received += answer[0] not in answers
                    answers.setdefault(*answer)
            if len(answers) == len(requests) and not frames:
                return
        counters.unsent += len(frames)

    def _match(
        self, packed: bytes, accept: Callable[[Motor, bytes], Answer | None]
    ) -> tuple[Motor, Answer] | None:
        try:
            frame = CanFrame.parse(packed)
        except (ValueError, struct.error):
            self._counters.corrupt += 1
            return None
        motor = self._motors.get(frame.id)
        if motor is None:
            self._counters.foreign += 1
            for other in self._motors.values():
                if is_parameter(frame.data, other.id):
                    self.elsewhere[other] = frame.id
            return None
        answer = accept(motor, frame.data)
        return None if answer is None else (motor, answer)

    async def _readable(self, seconds: float) -> None:
        descriptor = self._port.fileno()
        if self._port.down or descriptor < 0:
            await asyncio.sleep(min(seconds, _NO_DESCRIPTOR_S))
            return
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(descriptor, ready.set)
        try:
            async with asyncio.timeout(seconds):
                await ready.wait()
        except TimeoutError:
            pass
        finally:
            loop.remove_reader(descriptor)
