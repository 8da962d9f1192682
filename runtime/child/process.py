"""One life of a child process: its start, its messages, its last words and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from typing import Any

from runtime.child.spawn import spawn

CLEAN_EXIT = "ended with exit code 0"
"""What `ChildProcess.exited` says of a child that had no complaint."""

MESSAGE_MAX = 8192
"""The longest message that a child sends."""

# A pipe holds 64 KiB: reading that much at most every 20 ms bounds what a chatty model costs the loop.
_READ_MAX = 65536
_READ_PAUSE_S = 0.02
_TAIL_BYTES = 8192
_TAIL_LINES = 20
_LINE_LENGTH = 400

# From a closed socket to the end of its process: a core dump can take a while, a living one gets no longer.
_EXIT_S = 2.0


class ChildProcess:
    """A running child. All methods are for the loop's thread, but `send`; none of them waits but `close`."""

    def __init__(
        self, pid: int, pidfd: int, channel: socket.socket, errors: int, on_message: Callable[[bytes], None]
    ) -> None:
        self.pid = pid
        self.send = channel.send
        self.lost = False
        """The child has closed its end of the socket: its exit is to follow."""
        self._loop = asyncio.get_running_loop()
        self.exited: asyncio.Future[str] = self._loop.create_future()
        """How it ended, in words."""
        self._channel = channel
        self._errors = errors
        self._tail = b""
        self._on_message = on_message
        self._pidfd = pidfd
        self._pause: asyncio.TimerHandle | None = None
        self._impatience: asyncio.TimerHandle | None = None
        self._loop.add_reader(self._pidfd, self._reap)
        self._loop.add_reader(channel.fileno(), self.receive)
        self._loop.add_reader(errors, self._listen)

    @classmethod
    async def start(
        cls,
        arguments: Sequence[str],
        memory: int | None,
        executor: Executor,
        on_message: Callable[[bytes], None],
        more: Sequence[int] = (),
    ) -> ChildProcess:
        """Spawn a program on the executor's thread. It finds our socket as descriptor SOCKET, `memory` as MEMORY,
        and `more` descriptors after that one.

        Raises OSError when there is no process to be had.
        """
        spawning = asyncio.get_running_loop().run_in_executor(executor, _spawn, arguments, memory, more)
        try:
            return cls(*await asyncio.shield(spawning), on_message)
        except asyncio.CancelledError:
            # A child that is on its way must not be left behind.
            await _see_through(spawning)
            if spawning.exception() is None:
                await cls(*spawning.result(), on_message).close()
            raise

    def receive(self) -> None:
        """Take one message, if there is one."""
        if self.lost:
            return
        try:
            message = self._channel.recv(MESSAGE_MAX)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if message:
            self._on_message(message)
            return
        self.lost = True
        self._loop.remove_reader(self._channel.fileno())
        self._impatience = self._loop.call_later(_EXIT_S, self.kill)

    def kill(self) -> None:
        """End it now."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def last_words(self) -> list[str]:
        """The last lines that it wrote to stderr or stdout."""
        lines = self._tail.decode("utf-8", "replace").splitlines()
        return [line[:_LINE_LENGTH] for line in lines if line.strip()][-_TAIL_LINES:]

    def end(self) -> str:
        """How it ended, in words, behind the last of its own."""
        ended = self.exited.result() if self.exited.done() else "it has not ended"
        return "; ".join([*self.last_words()[-1:], ended])

    async def close(self, grace_s: float = 0.0) -> None:
        """Ask it to leave, kill it when it has not after `grace_s`, reap it, close everything."""
        if not self.lost:
            self.lost = True
            self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
        try:
            if grace_s > 0:
                await asyncio.wait({self.exited}, timeout=grace_s)
        finally:
            self.kill()
            try:
                # Bounded: a process that is stuck inside a device driver cannot be killed, only left alone.
                await _see_through(self.exited, _EXIT_S)
            finally:
                for timer in (self._pause, self._impatience):
                    if timer is not None:
                        timer.cancel()
                for descriptor in (self._errors, self._pidfd):
                    self._loop.remove_reader(descriptor)
                    os.close(descriptor)

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        try:
            _, status = os.waitpid(self.pid, 0)
            words = _exit_words(os.waitstatus_to_exitcode(status))
        except ChildProcessError:
            words = "ended, and somebody else took its exit status"
        self._read_errors()
        self.exited.set_result(words)

    def _listen(self) -> None:
        self._loop.remove_reader(self._errors)
        if self._read_errors():
            self._pause = self._loop.call_later(_READ_PAUSE_S, self._loop.add_reader, self._errors, self._listen)

    def _read_errors(self) -> bool:
        """False at the end of the pipe."""
        try:
            data = os.read(self._errors, _READ_MAX)
        except BlockingIOError:
            return True
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        return bool(data)


def _spawn(
    arguments: Sequence[str], memory: int | None, more: Sequence[int]
) -> tuple[int, int, socket.socket, int]:
    """Process id and its descriptor, our end of the socket, and of the pipe for its stdout and stderr."""
    with ExitStack() as theirs, ExitStack() as ours:
        channel, far_channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.enter_context(channel)
        theirs.enter_context(far_channel)
        channel.setblocking(False)
        read, write = os.pipe()
        ours.callback(os.close, read)
        theirs.callback(os.close, write)
        os.set_blocking(read, False)
        nothing = os.open(os.devnull, os.O_RDONLY)
        theirs.callback(os.close, nothing)
        # stdout goes with stderr: a model that prints should not end up in the operator's view.
        shared = () if memory is None else (memory, *more)
        pid = spawn(arguments, (nothing, write, write, far_channel.fileno(), *shared))
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        ours.pop_all()
        return pid, pidfd, channel, read


def _exit_words(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "real-time signal"
    return f"killed by signal {-code} ({name})"


async def _see_through(future: asyncio.Future[Any], timeout_s: float | None = None) -> None:
    """Wait for something short that must be seen through; a cancellation is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    try:
        await asyncio.wait({future}, timeout=timeout_s)
    except asyncio.CancelledError as error:
        cancelled = error
        await asyncio.wait({future}, timeout=timeout_s)
    if cancelled is not None:
        raise cancelled
