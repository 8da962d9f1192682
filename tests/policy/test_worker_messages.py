"""Messages, shared memory and the shape of a model's output: the small parts that both sides rely on."""

from __future__ import annotations

import os

import numpy as np
import pytest

from runtime.policy.worker import memory, wire
from runtime.policy.worker.backends import normalise
from runtime.policy.worker.errors import WrongShape


def test_messages_survive_the_socket():
    for message in (
        wire.Hello(wire.OK, 1, 2**40, wire.Can.TASK, "ready"),
        wire.Reply(wire.ERROR, 2**40, 2**50, 3, 4, 50, 7, "größer", 0.5),
        wire.Reply(wire.OK, 1, 2, 3, 4, 5, 6, "", 0.25),
    ):
        assert wire.parse(message.pack()) == message
    for order in (wire.Request(1, 2**50, 50, 10), wire.Task("place the cup, größer")):
        assert wire.parse_order(order.pack()) == order


def test_a_long_error_is_cut_to_one_message():
    assert len(wire.Reply(wire.ERROR, 1, 2, 3, 4, 5, 6, "ü" * 100_000).pack()) == wire.MESSAGE_MAX
    assert wire.parse(wire.Hello(wire.ERROR, 1, 2, 0, "ü" * 100_000).pack()).text.startswith("üüü")


@pytest.mark.parametrize("message", [b"", b"\x00", b"\x01", b"\x02" + bytes(40), b"\x03" + bytes(100)])
def test_what_is_no_message_is_refused(message):
    with pytest.raises(ValueError, match="expected 1 or 2"):
        wire.parse(message)


@pytest.mark.parametrize("message", [b"", b"\x03", b"\x03" + bytes(100), b"\x01"])
def test_what_is_no_order_is_refused(message):
    with pytest.raises(ValueError, match="expected 3 or 4"):
        wire.parse_order(message)


@pytest.fixture
def shared():
    descriptor = memory.create(48, 50, 7, 9)
    yield descriptor
    os.close(descriptor)


def test_both_sides_see_the_same_numbers(shared):
    ours, theirs = memory.SharedMemory(shared), memory.SharedMemory(shared)
    ours.observation[:] = np.arange(48)
    theirs.chunk[:] = np.arange(350).reshape(50, 7)
    theirs.curve[:] = np.arange(1800).reshape(50, 4, 9)
    ours.plan[:] = -1
    assert theirs.observation.tolist() == list(range(48))
    assert ours.chunk.shape == (50, 7)
    assert ours.chunk[49, 6] == 349.0
    assert ours.curve.shape == (50, 4, 9)
    assert ours.curve[49, 3, 8] == 1799.0
    assert theirs.plan.tolist() == [[-1] * 7] * 50
    assert theirs.observation.tolist() == list(range(48)), "the regions must not overlap"


def test_a_worker_cannot_take_the_memory_away(shared):
    with pytest.raises(PermissionError):
        os.ftruncate(shared, 0)


def test_the_memory_of_another_release_is_refused(shared):
    os.pwrite(shared, b"\xff", 8)
    with pytest.raises(ValueError, match=r"version 255, expected .* version 4"):
        memory.SharedMemory(shared)


@pytest.mark.parametrize(
    ("shape", "horizon"), [((3,), 1), ((1, 3), 1), ((1, 1, 3), 1), ((4, 3), 4), ((1, 4, 3), 4)]
)
def test_output_shapes_that_are_taken(shape, horizon):
    output = np.arange(np.prod(shape)).reshape(shape)
    found = normalise(output, horizon, 3)
    assert found.dtype == np.float32
    assert found.tolist() == output.reshape(horizon, 3).tolist()


@pytest.mark.parametrize(
    "output", [np.zeros(12), np.zeros((3, 4)), np.zeros((2, 4, 3)), np.zeros((4, 1, 3)), "forward", [[1], [1, 2]]]
)
def test_output_shapes_that_are_refused(output):
    with pytest.raises((WrongShape, ValueError)):
        normalise(output, 4, 3)
