"""Frames in shared memory: the newest, whole, at once."""

import os
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from runtime.policy.worker.frames import FrameLayout, FrameReader, FrameWriter, create

LAYOUT = FrameLayout(width=5, height=3, slots=2)


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = create(LAYOUT)
    yield descriptor
    os.close(descriptor)


def picture(value: int, layout: FrameLayout = LAYOUT) -> np.ndarray:
    return np.full(layout.shape, value, np.uint8)


def test_a_reader_finds_the_newest_frame_with_its_number_and_time(memory: int) -> None:
    reader = FrameReader(memory)
    assert reader.latest() is None
    assert reader.newest() == (0, 0)
    writer = FrameWriter(memory)
    pixels = np.arange(45, dtype=np.uint8).reshape(LAYOUT.shape)
    assert writer.write(picture(7), 1_000) == 1
    assert writer.write(pixels, 2_000) == 2
    frame = reader.latest()
    assert frame is not None
    assert frame[:2] == (2, 2_000)
    assert (frame.pixels == pixels).all()
    assert reader.newest() == (2, 2_000)
    assert reader.layout == LAYOUT


def test_what_was_seen_already_is_not_given_again(memory: int) -> None:
    reader, writer = FrameReader(memory), FrameWriter(memory)
    writer.write(picture(1), 1)
    assert reader.latest(after=1) is None
    writer.write(picture(2), 2)
    assert reader.latest(after=1).number == 2


def test_a_copy_stays_as_it_was(memory: int) -> None:
    reader, writer = FrameReader(memory), FrameWriter(memory)
    writer.write(picture(1), 1)
    frame = reader.latest()
    for value in range(2, 6):
        writer.write(picture(value), value)
    assert (frame.pixels == 1).all()


def test_a_frame_that_is_being_written_is_not_given(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = FrameReader(memory), FrameWriter(memory)
    writer.write(picture(1), 1)
    seen = []
    fence = FrameWriter._fence

    def look(self: FrameWriter) -> None:
        fence(self)
        if self is writer:  # a reader comes along at each step of the writing
            seen.append((reader.latest(), reader.newest()))

    monkeypatch.setattr(FrameWriter, "_fence", look)
    writer.write(picture(2), 2)
    assert len(seen) == 3
    for frame, newest in seen:
        assert frame[:2] == newest == (1, 1)
        assert (frame.pixels == 1).all()


@pytest.mark.parametrize("ahead", [1, 2, 3, 4, 5])
def test_a_writer_that_overtakes_a_copy_never_shows_in_it(
    memory: int, monkeypatch: pytest.MonkeyPatch, ahead: int
) -> None:
    reader, writer = FrameReader(memory), FrameWriter(memory)
    writer.write(picture(1), 1)
    fence = FrameReader._fence

    def overtake(self: FrameReader) -> None:
        fence(self)
        monkeypatch.setattr(FrameReader, "_fence", fence)
        for value in range(2, 2 + ahead):  # between the first look at the slot and the copy
            writer.write(picture(value), value)

    monkeypatch.setattr(FrameReader, "_fence", overtake)
    frame = reader.latest()
    assert (frame.pixels == frame.number).all()
    assert frame.mono_ns == frame.number


def test_a_reader_that_is_always_overtaken_gives_up(memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = FrameReader(memory), FrameWriter(memory)
    writer.write(picture(1), 1)
    fence = FrameReader._fence

    def overtake(self: FrameReader) -> None:
        fence(self)
        with monkeypatch.context() as patch:
            patch.setattr(FrameWriter, "_fence", lambda self: None)
            for _ in range(LAYOUT.slots):
                writer.write(picture(9), 9)

    monkeypatch.setattr(FrameReader, "_fence", overtake)
    assert reader.latest() is None


def test_the_next_process_of_a_camera_goes_on_counting(memory: int) -> None:
    reader, writer = FrameReader(memory), FrameWriter(memory)
    for value in range(3):
        writer.write(picture(value), value)
    # It was killed in the middle of a frame.
    place = 64 + 4 % LAYOUT.slots * LAYOUT.stride
    os.pwrite(memory, struct.pack("<q", 2 * 4 - 1), place)
    assert reader.latest().number == 3
    assert FrameWriter(memory).write(picture(44), 44) == 4
    assert (reader.latest().pixels == 44).all()


def test_many_readers_see_the_same(memory: int) -> None:
    first, second = FrameReader(memory), FrameReader(memory)
    FrameWriter(memory).write(picture(3), 5)
    assert (first.latest().pixels == second.latest().pixels).all()


def test_sizes_that_are_no_whole_lines(memory: int) -> None:
    layout = FrameLayout(width=7, height=11, slots=3)
    descriptor = create(layout)
    reader, writer = FrameReader(descriptor), FrameWriter(descriptor)
    for number in range(1, 8):
        writer.write(picture(number, layout), number)
        assert (reader.latest().pixels == number).all()
    os.close(descriptor)


@pytest.mark.parametrize("wrong", [np.zeros((3, 4, 3), np.uint8), np.zeros((3, 5, 3), np.float32)])
def test_a_frame_of_another_shape_or_type_is_refused(memory: int, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected \(3, 5, 3\) and uint8"):
        FrameWriter(memory).write(wrong, 0)
    assert FrameReader(memory).newest() == (0, 0)


def test_other_memory_is_refused() -> None:
    descriptor = os.memfd_create("other")
    os.ftruncate(descriptor, 4096)
    with pytest.raises(ValueError, match="of different releases"):
        FrameReader(descriptor)
    os.close(descriptor)


def test_the_memory_cannot_shrink_under_anybody(memory: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(memory, 64)
