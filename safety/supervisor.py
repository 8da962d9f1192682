"""The supervisor: the independent safety task, on its own thread, above the control loop.

The thread sleeps in poll(2) on three things: the e-stop's line, requests from other threads, and the time of what
is due next: a check, the feeding of a watchdog, an edge of the heartbeat line. After every wake-up it runs the
interlock, whatever woke it. It feeds all watchdogs itself, and only while the control loop beats, so that a dead
thread and a dead loop both end in a restart, and a dead machine in a reset.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeout

from drivers import timerfd
from drivers.line import InputLine, OutputLine
from safety.action import Action
from safety.beat import Heartbeat
from safety.decide import Cause
from safety.errors import SupervisorError, WatchdogError
from safety.estop import EstopState
from safety.feeding import Feeding
from safety.gate import Gate
from safety.interlock import Interlock, OnEvent
from safety.order import Order, Orders
from safety.pulse import Pulse
from safety.scheduling import Scheduling, run_as_fifo
from safety.torque_off import TorqueOff
from safety.watch import Flag, Watch
from safety.watchdog import Watchdog

START_TIMEOUT_S = 2.0
"""How long `start` waits at most for the safety thread, which arms the watchdogs first."""
CALL_TIMEOUT_S = 0.5
"""How long `arm`, `disarm` and `reset` wait for the safety thread at most."""
TORQUE_OFF_TIMEOUT_S = 0.02
"""How long the safety thread waits for all buses' torque off before it goes on without them."""

_GONE = select.POLLHUP | select.POLLERR | select.POLLNVAL
_Request = tuple[Callable[[int], list[str]], Future[list[str]]]


class Supervisor:
    """Owns drive-enable and the permission to open the gate. All methods are callable from any thread."""

    def __init__(
        self,
        estop: InputLine | None,
        drive_enable: OutputLine | None,
        torque_off: Sequence[Callable[[], None]],
        gate: Gate,
        beat: Heartbeat,
        stall_s: float,
        tick_s: float,
        priority: int,
        on_event: OnEvent,
        watchdogs: Sequence[Watchdog] = (),
        heartbeat_line: OutputLine | None = None,
        heartbeat_period_s: float = 0.1,
        stop_timeout_s: float = 1.0,
        feedback: InputLine | None = None,
        feedback_s: float = 0.0,
        release_s: float = 0.0,
        watches: Sequence[Watch] = (),
        slow_speed: float = 0.25,
        hold_after_stop: bool = False,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Keep the arguments; nothing runs before `start`. The lines are closed by `stop`.

        `estop`: active while released, None for a robot without one. `stall_s`: oldest heartbeat allowed.
        `tick_s`: period of the loop. `priority`: SCHED_FIFO priority, above the loop's. `on_event(name, message,
        level, fields)` is called on the safety thread and must not block. `watchdogs`: fed while the loop beats,
        the mildest first. `heartbeat_line`: toggled under the same condition; `heartbeat_period_s`: full period of
        the wave. `stop_timeout_s`: longest time for a stop that the loop makes. `feedback`: active while motor
        power flows; it has to follow drive-enable within `feedback_s`. `release_s`: how long the e-stop reads as
        released before it is. `watches`: whose flags count, asked at every check. `slow_speed`: part of its top
        speed that a joint may use while a flag asks for slow. `hold_after_stop`: some joint must keep its torque
        after a controlled stop, which is then of category 2 and latched.
        """
        self.scheduling = Scheduling(False, "the safety thread was not started")
        """Whether the safety thread runs in real time, or why not."""
        self._estop = estop
        self._drive_enable = drive_enable
        self._feedback = feedback
        self._gate = gate
        self._beat = beat
        self._stall_ns = round(stall_s * 1e9)
        self._period_ns = round(stall_s / 4 * 1e9)
        self._tick_ns = round(tick_s * 1e9)
        self._priority = priority
        self._on_event = on_event
        self._clock = clock
        self._torque_off = TorqueOff(torque_off, priority)
        self._interlock = Interlock(
            estop,
            drive_enable,
            lambda: self._torque_off.fire(TORQUE_OFF_TIMEOUT_S),
            gate,
            beat,
            stall_s,
            stop_timeout_s,
            on_event,
            clock,
            feedback,
            feedback_s,
            release_s,
            watches,
            slow_speed,
            hold_after_stop,
        )
        tell = self._interlock.tell
        pulse = Pulse(heartbeat_line, heartbeat_period_s, tell) if heartbeat_line is not None else None
        self._feeding = Feeding(watchdogs, pulse, beat, round(stall_s * 1e9), tell)
        self._requests: deque[_Request] = deque()
        self._wake_fd = self._timer_fd = -1
        self._wake_lock = threading.Lock()
        self._stopping = False
        self._clean = False
        self._off_asked = False
        self._death = ""
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="safety", daemon=True)

    # -- what others may know, read without waiting

    @property
    def estop_state(self) -> EstopState:
        """The e-stop: `released`, `pressed` (also: its line is gone) or `none` (not configured)."""
        return self._interlock.estop_state

    @property
    def estop_requested(self) -> bool:
        """Whether an e-stop, by button or by request, is among what is latched."""
        latched = self._interlock.latched
        return self._off_asked or Cause.ESTOP in latched or Cause.ESTOP_REQUEST in latched

    @property
    def drive_enabled(self) -> bool:
        """Whether motor power is allowed to flow."""
        return self._interlock.drive_enabled

    @property
    def power_confirmed(self) -> bool:
        """Whether motor power flows, as far as drive-enable and the contactor's feedback say."""
        return self._interlock.power_confirmed

    @property
    def power_cut(self) -> bool:
        """Whether there is a drive-enable line, and it and the contactor's feedback say that power is off."""
        return self._interlock.power_cut

    @property
    def latched(self) -> list[str]:
        """What lasts until a reset, in words."""
        return [*self._interlock.latched.values(), *([self._death] if self._death else [])]

    @property
    def reasons(self) -> list[str]:
        """What is latched, and everything else that is not as it should be, in words."""
        return [*self.latched, *self._interlock.standing]

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What the watches said at the last check."""
        return self._interlock.flags

    @property
    def orders(self) -> Orders:
        """What the loop has to do: SLOW, HOLD and CONTROLLED_STOP are left to it."""
        return self._interlock.orders

    @property
    def action(self) -> Action:
        """What is called for now."""
        return self.orders.last.action

    @property
    def category(self) -> int | None:
        """Stop category in force (0, 1, 2), None when nothing stops the robot."""
        return self.action.category

    @property
    def alive(self) -> bool:
        """Whether the safety thread runs."""
        return self._thread.is_alive()

    # -- what others may ask for

    def start(self) -> None:
        """Start the safety thread. Raises SupervisorError when that is not possible."""
        try:
            self._torque_off.start()
            self._wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._thread.start()
        except (OSError, RuntimeError) as error:
            raise SupervisorError(f"the safety thread could not be started: {error}") from error
        if not self._started.wait(START_TIMEOUT_S) or self._death:
            raise SupervisorError(self._death or f"the safety thread did not run within {START_TIMEOUT_S:g} s")

    def arm(self) -> list[str]:
        """Make drive-enable active and permit `gate.open` once.

        Returns every reason against it; none means that it is done.
        """
        return self._call(self._interlock.arm)

    def disarm(self) -> list[str]:
        """Close the gate, make drive-enable inactive. Returns what kept the thread from it, normally nothing."""
        self._gate.close("disarmed")

        def disarm(now_ns: int) -> list[str]:
            self._interlock.disarm(now_ns)
            return []

        return self._call(disarm)

    def request_stop(self, category: int, reason: str) -> None:
        """Stop the robot; does not wait. `category`: 0 torque off at once, latched; 1 and 2: the loop stops it."""
        if category == 0:
            self._off_asked = True  # before the gate: whoever sees it closed finds the reason
            self._gate.close(reason)

        def request(now_ns: int) -> list[str]:
            self._interlock.request_stop(category, reason, now_ns)
            return []

        self._post(request)

    def reset(self) -> list[str]:
        """Forget what is latched. Never gives power back.

        Returns the causes that still stand; none means that it is done.
        """

        def reset(now_ns: int) -> list[str]:
            standing = self._interlock.reset(now_ns)
            self._off_asked = bool(standing) and self._off_asked
            return standing

        return self._call(reset)

    def stop(self, clean: bool = False) -> None:
        """End the safety thread: gate closed, drive-enable inactive, torque off if it was armed, lines closed.

        `clean`: the motors are known to be off and nothing has failed, so the hardware watchdog is disarmed.
        Otherwise it is left to reset the machine.
        """
        self._clean = clean
        self._stopping = True
        self._wake()
        if self._thread.ident is None:
            self._end("the safety task was stopped")
            return
        self._thread.join(CALL_TIMEOUT_S)
        if self._thread.is_alive():
            self._interlock.shut("the safety thread does not end")

    def _call(self, request: Callable[[int], list[str]]) -> list[str]:
        """Have the safety thread do it and wait for its answer; what it has not begun in time, it never does."""
        if not self.alive:
            return [self._death or "the safety thread is not running"]
        answer = self._post(request)
        for _ in range(2):
            with contextlib.suppress(FutureTimeout, CancelledError):
                return answer.result(CALL_TIMEOUT_S)
            if answer.cancel():
                break
        return [self._death or f"the safety thread has not answered within {CALL_TIMEOUT_S:g} s"]

    def _post(self, request: Callable[[int], list[str]]) -> Future[list[str]]:
        answer: Future[list[str]] = Future()
        self._requests.append((request, answer))
        self._wake()
        return answer

    def _wake(self) -> None:
        # Under the lock, because the number of a closed descriptor may already belong to a bus.
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.eventfd_write(self._wake_fd, 1)

    # -- the safety thread

    def step(self, now_ns: int, estop_edge: bool = False) -> None:
        """One round: interlock, requests, watchdog. `now_ns`: CLOCK_MONOTONIC, ns."""
        self._interlock.step(now_ns, estop_edge)
        while self._requests:
            request, answer = self._requests.popleft()
            if answer.set_running_or_notify_cancel():
                answer.set_result(request(now_ns))
        self._feeding.step(now_ns, self.action is Action.POWER_CUT)
        self._interlock.report(Cause.HEARTBEAT, self._feeding.pulse_problem)
        self._interlock.report(Cause.WATCHDOG, self._feeding.watchdog_problem)

    def _run(self) -> None:
        try:
            self.scheduling = run_as_fifo(self._priority)
            self._feeding.open()
            self._watch()
        except WatchdogError as error:
            self._death = str(error)
        except BaseException as error:
            self._death = f"the safety thread has died: {type(error).__name__}: {error}; restart the daemon"
        finally:
            self._end(self._death or "the safety task was stopped")

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._wake_fd, select.POLLIN)
        timer_fd = self._timer_fd = timerfd.open_timer()
        poll.register(timer_fd, select.POLLIN)
        estop_fd = -1
        check_ns = self._clock()
        self.step(check_ns)
        self._started.set()
        level = "info" if self.scheduling.achieved else "warning"
        self._interlock.tell("safety.started", f"safety thread: {self.scheduling.detail}", level)
        while not self._stopping:
            estop_fd = self._watch_estop(poll, estop_fd)
            beat = self._beat.last
            due_ns = check_ns
            if beat is not None:
                due_ns = next_check(check_ns, beat.now_ns, self._tick_ns, self._stall_ns, self._clock())
            if self._feeding.due_ns is not None:
                due_ns = min(due_ns, self._feeding.due_ns)
            timerfd.set_timer(timer_fd, due_ns)
            # The time-out is for a timer that fails: it comes a little later.
            ready = dict(poll.poll(max(0.0, (due_ns - self._clock()) / 1e6) + 1))
            now_ns = self._clock()
            if timer_fd in ready:
                timerfd.expirations(timer_fd)
            if self._wake_fd in ready:
                os.eventfd_read(self._wake_fd)
            if ready.get(estop_fd, 0) & _GONE:
                self._interlock.lose_estop("its descriptor reports an error")
            self.step(now_ns, estop_fd in ready)
            check_ns = next_period(check_ns, self._period_ns, now_ns)

    def _watch_estop(self, poll: select.poll, watched: int) -> int:
        """Watch the e-stop's descriptor while the line is there; one that is gone would be readable for ever."""
        fd = -1 if self._estop is None or self._interlock.estop_lost else self._estop.fileno()
        if fd != watched:
            if watched >= 0:
                poll.unregister(watched)
            if fd >= 0:
                poll.register(fd, select.POLLIN | select.POLLPRI)
        return fd

    def _end(self, reason: str) -> None:
        """Leave everything off, whatever has gone wrong before."""
        began_ns = self._clock()
        seen = self._interlock.seen(began_ns)
        if self._death:
            self.orders.last = Order(Action.TORQUE_OFF, latched=True, speed=1.0)
        self._interlock.shut(reason)
        reaction_us = (self._clock() - began_ns) / 1e3
        self._torque_off.stop(TORQUE_OFF_TIMEOUT_S)
        self._feeding.close(clean=(self._clean and not self._death) or not self._started.is_set())
        for line in (self._drive_enable, self._feedback, self._estop):
            if line is not None:
                with contextlib.suppress(Exception):
                    line.close()
        with self._wake_lock:
            wake_fd, self._wake_fd = self._wake_fd, -1
        timer_fd, self._timer_fd = self._timer_fd, -1
        for fd in (wake_fd, timer_fd):
            if fd >= 0:
                os.close(fd)
        while self._requests:
            self._requests.popleft()[1].cancel()
        if self._death and self._started.is_set():
            self._interlock.tell(
                "safety.thread_died", self._death, "error", category=0, **seen, reaction_us=reaction_us
            )
        self._started.set()


def next_period(due_ns: int, period_ns: int, now_ns: int) -> int:
    """`due_ns`, while it is less than a period ahead, or the first of its successors that is after `now_ns`."""
    return due_ns + period_ns * (1 + (now_ns - due_ns) // period_ns)


def next_check(due_ns: int, beat_ns: int, tick_ns: int, stall_ns: int, now_ns: int) -> int:
    """When to make the check that is due at `due_ns`, after the beat at `beat_ns`: three quarters into a tick.

    The safety thread goes before the control loop and needs the interpreter lock as well: a check that fell on the
    start of a tick would delay it, and does so in every period when the check's is a multiple of the tick's. But a
    beat that does not come is a stall at its own moment, not at the next check.
    """
    moment_ns = beat_ns + tick_ns * 3 // 4
    moment_ns += max(0, -(-(due_ns - moment_ns) // tick_ns)) * tick_ns
    stalled_ns = beat_ns + stall_ns + 1
    return min(moment_ns, stalled_ns) if stalled_ns > now_ns else moment_ns
