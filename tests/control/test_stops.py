"""Everything that stops a robot, at random: interlock, gate, modes and loop together, with lines without wires and
the time in the test's hand. Whatever happens in whatever order, some things hold."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from runtime.control.modes import LATCHED, Mode, ModeError
from safety.action import Action
from safety.decide import Cause
from safety.interlock import Interlock
from safety.watch import Clear, Flag
from tests.control.conftest import PERIOD_NS, build

STALL_NS, TIMEOUT_NS = 30_000_000, 500_000_000
# Not evenly: most of what happens should leave the robot something to do.
ACTIONS = [*Action, Action.SLOW, *2 * [Action.HOLD, Action.CONTROLLED_STOP]]
CLEARS = [*2 * [Clear.GONE, Clear.RESET], Clear.NEVER]
MOVES = {Mode.AUTO, Mode.MANUAL, Mode.RETURNING}
POWER_GOES = {Mode.STANDBY, Mode.FAULT}


class Line:
    """An input and output without a wire."""

    def __init__(self, level: bool) -> None:
        self.level, self.broken = level, False

    def fileno(self) -> int:
        return -1

    def read(self) -> bool:
        if self.broken:
            raise OSError("the wire is cut")
        return self.level

    def set(self, active: bool) -> None:
        if self.broken:
            raise OSError("the wire is cut")
        self.level = active

    check = reopen = read

    def close(self) -> None:
        pass


class Watch:
    def __init__(self) -> None:
        self.flags: dict[str, Flag] = {}

    def look(self, now_ns: int) -> list[Flag]:
        if "defect" in self.flags:
            raise ValueError("a defect")
        return list(self.flags.values())


class Robot(RuleBasedStateMachine):
    """What the operator, the wires, the motors and the clock may do, in any order."""

    hold_after_stop = False

    def __init__(self) -> None:
        super().__init__()
        self.world = build(b="hold") if self.hold_after_stop else build()
        self.estop, self.drive, self.watch = Line(True), Line(False), Watch()
        self.interlock = Interlock(
            self.estop,
            self.drive,
            list,
            self.world.gate,
            self.world.heartbeat,
            STALL_NS / 1e9,
            TIMEOUT_NS / 1e9,
            lambda *event: None,
            lambda: self.now,
            watches=[self.watch],
            hold_after_stop=self.hold_after_stop,
        )
        self.interlock.orders = self.world.orders
        self.modes = self.world.loop.modes
        self.modes.mode = Mode.STANDBY
        self.arming = self.resetting = False
        self.seen: tuple[Mode, Mode, dict[str, Any]] = (self.modes.mode, self.modes.after_stop, {})
        self.stopping_since: int | None = None
        self.run()

    @property
    def now(self) -> int:
        return self.world.clock[0]

    def check(self, edge: bool = False) -> None:
        """The safety thread's turn."""
        self.interlock.step(self.now, edge)
        if not self.interlock.decision.stopping:
            self.stopping_since = None
        elif self.stopping_since is None:
            self.stopping_since = self.now

    # -- time

    @rule(count=st.integers(1, 40))
    def ticks(self, count: int) -> None:
        """Time goes on, and everybody gets their turn."""
        for _ in range(count):
            self.world.clock[0] = (self.world.number + 1) * PERIOD_NS
            self.check()
            latched = self.interlock.latched
            self.world.cut_mode[0] = (
                Mode.ESTOP if latched.keys() & {Cause.ESTOP, Cause.ESTOP_REQUEST} else Mode.FAULT
            )
            began_ns, beat = self.now, self.world.heartbeat.last
            self.world.tick()
            self.judge_tick(began_ns - beat.now_ns if beat else 0)
            while self.world.powered_off:
                self.world.powered_off.pop()
                self.interlock.disarm(self.now)

    def judge_tick(self, age_ns: int) -> None:
        """What holds for every tick. `age_ns`: of the last beat, when the tick began."""
        action = self.interlock.decision.action
        if self.world.bus.commands[-1] is not None:
            assert self.modes.energised, "goals in a mode without torque"
            assert age_ns <= STALL_NS, "goals after a stall"
            assert self.estop.level, "goals with the e-stop pressed"
            assert not self.estop.broken
            assert self.drive.level, "goals without drive-enable"
            assert not self.drive.broken
            assert action < Action.TORQUE_OFF
        if action >= Action.TORQUE_OFF:
            assert not self.modes.energised
            assert not self.interlock.drive_enabled
            assert self.modes.mode in LATCHED
        if action >= Action.HOLD:
            assert self.modes.mode not in MOVES, "motion while a stop is in force"
        if self.stopping_since is not None:
            assert self.now - self.stopping_since <= TIMEOUT_NS + PERIOD_NS, "a stop without an end"

    @rule(count=st.integers(1, 5))
    def stall(self, count: int) -> None:
        """The loop misses ticks; the safety thread does not."""
        for _ in range(count):
            self.world.number += 1
            self.world.clock[0] = self.world.number * PERIOD_NS
            self.check()

    # -- wires, watches, motors

    @rule(what=st.sampled_from(["press", "release", "cut", "mend", "cut drive", "mend drive"]))
    def handle_wires(self, what: str) -> None:
        if what in ("press", "release"):
            edge = self.estop.level == (what == "press")
            self.estop.level = what == "release"
            self.check(edge)
        else:
            line = self.drive if what.endswith("drive") else self.estop
            line.broken = what.startswith("cut")

    @rule(name=st.sampled_from("ab"), action=st.sampled_from(ACTIONS), clear=st.sampled_from(CLEARS))
    def flag(self, name: str, action: Action, clear: Clear) -> None:
        self.watch.flags[name] = Flag(name, action, clear, "")

    @rule(broken=st.sampled_from([False, False, True]))
    def clear_flags(self, broken: bool) -> None:
        self.watch.flags.clear()
        if broken:
            self.watch.flags["defect"] = Flag("defect", Action.WARN, Clear.GONE, "")

    @rule(joint=st.integers(0, 1), fault=st.sampled_from([0, 9]))
    def motor_fault(self, joint: int, fault: int) -> None:
        self.world.state.fault[joint] = fault

    @rule(finish=st.booleans())
    def run(self, finish: bool = True) -> None:
        """Mend everything, arm, and move; or only begin to arm; otherwise hardly any robot would ever run."""
        self.estop.level, self.estop.broken, self.drive.broken = True, False, False
        self.watch.flags.clear()
        self.world.state.fault[:] = 0
        lines = self.interlock.latched.keys() & {Cause.ESTOP, Cause.DRIVE_ENABLE}
        # A stop may end here and the robot be armed anew: each step is judged by itself.
        self.ticks(110 if lines else 1)  # a lost line is tried again after a second
        self.judge_modes()
        self.reset()
        self.judge_modes()
        self.ticks(1)
        self.judge_modes()
        if self.modes.mode == Mode.STANDBY and not self.arming:
            self.begin_to_arm()
        if not finish:
            return
        if self.arming:
            self.finish_arming()
        self.move(-1.5 if self.world.loop.command[0] > 0 else 1.5)
        self.ticks(15)

    # -- the operator, as in runtime.robot

    @rule(category=st.sampled_from([0, 1, 1, 2, 2]))
    def request_stop(self, category: int) -> None:
        self.interlock.request_stop(category, "test", self.now)

    @precondition(lambda self: not self.arming and self.modes.mode == Mode.STANDBY)
    @rule()
    def begin_to_arm(self) -> None:
        self.arming = not self.world.state.fault.any() and not self.interlock.arm(self.now)

    @precondition(lambda self: self.arming)
    @rule()
    def finish_arming(self) -> None:
        self.arming = False
        self.world.loop.hold_here()
        if self.world.gate.open():
            assert self.interlock.decision.action < Action.HOLD, "armed while a stop is in force"
            self.modes.request("arm")
        else:
            self.interlock.disarm(self.now)

    @rule(angle=st.sampled_from([-1.5, 1.5]))
    def move(self, angle: float) -> None:
        with suppress(ModeError):
            self.world.loop.move({0: angle})

    @rule()
    def start(self) -> None:
        with suppress(ModeError):
            self.world.loop.start_auto()

    @rule(count=st.integers(1, 60))
    def retreat(self, count: int) -> None:
        """The policy runs, and a gripper stalls: the robot backs off by itself."""
        self.start()
        self.world.flags.append(Flag("grip_stall.b", Action.WARN, Clear.GONE, ""))
        self.ticks(count)
        self.world.flags.clear()

    @rule(then=st.sampled_from([Mode.HOLD, Mode.STANDBY]))
    def stop_or_disarm(self, then: Mode) -> None:
        self.world.loop.stop(then)

    @rule()
    def reset(self) -> None:
        mode = self.modes.mode
        if mode == Mode.STOPPING or self.arming or (mode == Mode.HELD and self.world.state.fault.any()):
            return
        if not self.interlock.reset(self.now):
            self.resetting = True
            if mode == Mode.HELD:
                self.world.loop.release()
            elif mode in LATCHED:
                self.world.state.fault[:] = 0
                self.modes.request("reset")

    # -- what holds after everything

    @invariant()
    def nothing_but_reset_leaves_a_latch_and_a_stop_never_weakens(self) -> None:
        self.judge_modes()

    def judge_modes(self) -> None:
        """What holds from one step to the next."""
        mode, after, latches = self.seen
        now = dict(self.interlock.decision.latched)
        self.seen = (self.modes.mode, self.modes.after_stop, now)
        if self.resetting:
            self.resetting = False
            return
        if mode in LATCHED:
            assert self.modes.mode in LATCHED | {Mode.STOPPING}
            if mode != Mode.HELD:
                assert self.modes.mode in (mode, Mode.ESTOP)
        for cause, latch in latches.items():
            assert now[cause].action >= latch.action
        if mode == Mode.STOPPING:
            end = self.modes.after_stop if self.modes.mode == Mode.STOPPING else self.modes.mode
            assert after not in LATCHED or end in LATCHED
            assert after not in POWER_GOES or end in POWER_GOES | {Mode.ESTOP}

    @invariant()
    def an_open_gate_needs_drive_enable(self) -> None:
        assert not self.world.gate.is_open or self.interlock.drive_enabled


class RobotThatHolds(Robot):
    """The same with a joint that keeps its torque after a stop."""

    hold_after_stop = True


Robot.TestCase.settings = RobotThatHolds.TestCase.settings = settings(max_examples=100, stateful_step_count=40)
TestRobot = Robot.TestCase
TestRobotThatHolds = RobotThatHolds.TestCase
