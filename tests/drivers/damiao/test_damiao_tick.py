"""The tick's side of the bus on a port in memory: time stamps, counters, faults. Time is the test's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.joint import Joint
from drivers.motors.damiao.bus import TORQUE_LOST, DamiaoBus
from drivers.motors.damiao.frames import ENABLED, READ, WRITE, Feedback, Mit, Parameter, refresh
from drivers.motors.damiao.limits import MODELS
from drivers.motors.damiao.options import DamiaoOptions
from drivers.ports.can import ERROR_FLAG, CanFrame
from drivers.state import JointState

LIMITS = MODELS["DM4310"][0]
TICK = 2_000_000


class MemoryPort:
    """Keeps what is sent; gives what the test puts in."""

    def __init__(self):
        self.down = False
        self.takes = 99
        self.sent = []
        self.inbox = []

    def send(self, frames):
        taken = frames[: self.takes]
        self.sent += taken
        return len(taken)

    def receive(self, limit=64):
        frames, self.inbox = self.inbox[:limit], self.inbox[limit:]
        return frames

    def reopen(self, now_ns):
        return not self.down


class Bench:
    """Two joints; motor 1 and 2 answer what `reply` says."""

    def __init__(self):
        joints = [
            Joint(
                name=name,
                bus="legs",
                id=number,
                model="DM4310",
                position_min=-3,
                position_max=3,
                velocity_max=5,
                acceleration_max=50,
                torque_max=8,
                kp=20,
                kd=1,
            )
            for number, name in ((1, "hip"), (2, "knee"))
        ]
        self.state = JointState(2)
        options = DamiaoOptions(name="legs", type="damiao", channel="can0")
        self.bus = DamiaoBus(options, joints, np.array([0, 1]), self.state)
        self.port = self.bus._port = MemoryPort()

    def reply(self, number=1, position=0.5, status=0, low=None):
        data = Feedback(status, number if low is None else low, position, 0, 0, 30, 40).pack(LIMITS)
        self.put(0x10 + number, data)

    def put(self, can_id, data):
        self.port.inbox.append(CanFrame(can_id, data).pack())

    def seen(self, number=1):
        return (int(self.state.stamp_ns[number - 1]), int(self.state.missed[number - 1]))

    def figures(self):
        c = self.bus.counters
        return {
            name: getattr(c, name)
            for name in ("sent", "received", "lost", "late", "corrupt", "foreign", "unsent")
            if getattr(c, name)
        }


@pytest.fixture
def bench():
    return Bench()


def test_never_read(bench):
    bench.bus.read(0)
    assert np.isnan(bench.state.position).all()
    assert bench.seen() == (0, 0)
    bench.bus.poll(100)
    assert bench.seen() == (0, 0)


def test_a_reading_has_the_time_of_its_request(bench):
    bench.bus.poll(100)
    bench.reply()
    bench.reply(2, 0.7)
    bench.bus.read(200)
    assert bench.state.position == pytest.approx([0.5, 0.7], abs=1e-3)
    assert bench.state.temperature.tolist() == [40, 40]
    assert bench.seen(1) == bench.seen(2) == (100, 0)
    assert bench.figures() == {"sent": 2, "received": 2}


def test_poll_never_commands_and_command_carries_the_goal(bench):
    bench.bus.poll(100)
    assert bench.port.sent == [CanFrame(0x7FF, refresh(n)).pack() for n in (1, 2)]
    bench.port.sent.clear()
    bench.bus.command(200, np.array([0.5, -0.25]))
    frames = [CanFrame.parse(frame) for frame in bench.port.sent]
    assert [frame.id for frame in frames] == [1, 2]
    assert frames[0].data == Mit(position=0.5, kp=20, kd=1).pack(LIMITS)
    assert frames[1].data == Mit(position=-0.25, kp=20, kd=1).pack(LIMITS)


def test_a_lost_reply_ages_one_joint_only(bench):
    bench.bus.poll(100)
    bench.reply()
    bench.reply(2)
    bench.bus.read(200)
    for now in (200, 300, 400):
        bench.bus.poll(now)
        bench.reply(2, 0.1)
        bench.bus.read(now + 100)
    assert bench.seen(1) == (100, 2)
    bench.bus.poll(500)
    assert bench.seen(1) == (100, 3)
    assert bench.seen(2) == (400, 0)
    assert bench.state.position == pytest.approx([0.5, 0.1], abs=1e-3)
    assert bench.bus.counters.lost == 3
    bench.reply(1, 0.9)
    bench.bus.read(600)
    assert bench.state.missed[0] == 0
    assert bench.state.position[0] == pytest.approx(0.9, abs=1e-3)


def test_after_a_silent_request_a_reading_has_the_older_time(bench):
    bench.bus.poll(100)
    bench.bus.poll(200)
    bench.reply()
    bench.bus.read(300)
    assert bench.seen() == (100, 0)
    assert bench.figures() == {"sent": 4, "received": 1, "lost": 2}


def test_two_replies_at_once_the_second_is_the_newer(bench):
    bench.bus.poll(100)
    bench.bus.poll(200)
    bench.reply(position=0.1)
    bench.reply(position=0.2)
    bench.bus.read(300)
    assert bench.seen() == (200, 0)
    assert bench.state.position[0] == pytest.approx(0.2, abs=1e-3)
    assert bench.figures() == {"sent": 4, "received": 1, "late": 1, "lost": 2}
    # From here on everything is in time again.
    bench.bus.poll(300)
    bench.reply()
    bench.bus.read(400)
    assert bench.seen() == (300, 0)


def test_replies_that_always_come_a_period_late_keep_their_true_time(bench):
    bench.bus.poll(100)
    for now in (200, 300, 400, 500):
        bench.bus.read(now)
        bench.bus.poll(now)
        bench.reply()  # the answer to the request of now - 100
    bench.bus.read(600)
    assert bench.seen() == (400, 0)
    assert bench.bus.counters.lost == 1 + 4  # the second motor never answers


def test_one_reply_too_many_is_newer_but_keeps_the_time(bench):
    bench.bus.poll(100)
    bench.reply(position=0.1)
    bench.bus.read(200)
    bench.reply(position=0.2)
    bench.bus.read(250)
    assert bench.seen() == (100, 0)
    assert bench.state.position[0] == pytest.approx(0.2, abs=1e-3)
    assert bench.bus.counters.late == 1


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 2 * TICK - 1)), min_size=5, max_size=60),
    st.floats(0, 0.5),
)
def test_an_age_is_never_understated(fates, drop):
    """Replies are lost or come up to two periods late, in order; the position says which request it answers."""
    bench = Bench()
    on_their_way = []
    last = 0
    for tick, (lost, delay) in enumerate(fates, 1):
        now = tick * TICK
        while on_their_way and on_their_way[0][0] <= now:
            bench.reply(1, on_their_way.pop(0)[1])
        bench.bus.read(now)
        if bench.state.stamp_ns[0]:
            truth = round(bench.state.position[0] / 0.01) * TICK
            assert bench.state.stamp_ns[0] <= truth
            assert truth - bench.state.stamp_ns[0] <= 2 * TICK  # and it is not made older without end
        bench.bus.poll(now)
        if not (lost and delay / (2 * TICK) < drop):
            last = max(last, now + delay)
            on_their_way.append((last, tick * 0.01))


def test_what_is_not_a_reply_of_ours(bench):
    bench.bus.poll(100)
    bench.put(0x55, bytes(8))  # unknown id
    bench.put(0x11 | 0x80000000, bytes(8))  # the same number with 29 bits
    bench.reply(1, low=2)  # another motor with the first one's reply id
    bench.put(0x11, bytes(7))  # wrong length
    bench.port.inbox.append(bytes(17))
    bench.port.inbox.append(CanFrame(0x11, bytes(8)).pack() + bytes(56))  # CAN FD
    bench.reply(1, status=5)  # a status that does not exist
    bench.put(ERROR_FLAG | 0x40, bytes(8))
    bench.bus.read(200)
    assert np.isnan(bench.state.position).all()
    assert bench.figures() == {"sent": 2, "foreign": 3, "corrupt": 4}
    assert "bus-off" in bench.bus.line_error
    assert "restart-ms" in bench.bus.line_error


def test_padding_does_not_matter(bench):
    bench.bus.poll(100)
    bench.reply()
    frame = bench.port.inbox.pop()
    bench.port.inbox.append(frame[:5] + b"\x01\x02\x08" + frame[8:])
    bench.bus.read(200)
    assert bench.seen() == (100, 0)


def test_feedback_before_the_first_request_is_foreign(bench):
    bench.reply()
    bench.bus.read(100)
    assert bench.figures() == {"foreign": 1}
    assert np.isnan(bench.state.position).all()


def test_what_the_port_does_not_take(bench):
    bench.port.takes = 1
    bench.bus.poll(100)
    bench.reply(1)
    bench.bus.read(200)
    bench.bus.poll(200)
    assert bench.seen(1) == (100, 0)
    assert bench.seen(2) == (0, 1)  # it was not asked, and it has no reading
    assert bench.figures() == {"sent": 2, "received": 1, "unsent": 2}
    bench.port.takes = 99
    bench.bus.poll(300)
    bench.reply(2)
    bench.bus.read(400)
    assert bench.seen(2) == (300, 0)


@pytest.mark.parametrize("goal", [float("nan"), float("inf"), -float("inf")])
def test_a_goal_that_is_not_finite_sends_nothing(bench, goal):
    bench.bus.command(100, np.array([0.1, goal]))
    assert bench.port.sent == []
    assert bench.figures() == {"unsent": 2}


def test_motor_errors_show_and_vanish(bench):
    for status in range(8, 15):
        bench.bus.poll(100)
        bench.reply(status=status)
        bench.bus.read(200)
        assert bench.state.fault.tolist() == [status, 0]
    bench.bus.poll(300)
    bench.reply()
    bench.bus.read(400)
    assert bench.state.fault.tolist() == [0, 0]


def test_torque_lost_is_a_fault_only_while_energised(bench):
    bench.bus._expect(ENABLED)
    bench.bus.command(100, np.zeros(2))
    bench.reply(1, status=1)
    bench.reply(2, status=0)
    bench.bus.read(200)
    assert bench.state.fault.tolist() == [0, TORQUE_LOST]
    bench.port.shout = bench.port.send
    bench.bus.torque_off()
    bench.bus.poll(200)
    bench.reply(1, status=1)  # from before
    bench.reply(2, status=0)
    bench.bus.read(300)
    assert bench.state.fault.tolist() == [0, 0]


def test_a_late_parameter_reply_does_not_pass_for_a_motor_that_is_off(bench):
    bench.bus._expect(ENABLED)
    bench.bus.command(100, np.zeros(2))
    bench.put(0x11, Parameter(1, READ, 9, 2000).pack())
    bench.put(0x12, Parameter(2, WRITE, 10, 1).pack())
    bench.bus.read(200)
    assert bench.state.fault.tolist() == [0, 0]
    assert np.isnan(bench.state.position).all()
    assert bench.bus.counters.foreign == 2


def test_without_a_port_nothing_happens(bench):
    bench.bus._port = None
    bench.bus.read(100)
    bench.bus.poll(100)
    bench.bus.command(200, np.zeros(2))
    bench.bus.torque_off()
    assert bench.figures() == {"unsent": 4}
