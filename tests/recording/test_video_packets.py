from __future__ import annotations

import math

import pytest

from runtime.recording.quality.frame import FrameQuality
from runtime.recording.video.packets import ENTRIES, Packet, PacketReader, PacketRing, PacketWriter
from runtime.recording.video.tracks import VideoTracks

CAPACITY = 1000


def packet(number: int, key: bool = False, size: int = 10) -> Packet:
    quality = FrameQuality(number, number * 1000, 1.0, 0.25, 0.5, 7.0, float(number))
    return Packet(quality, "h264", key, bytes([number % 256]) * size)


@pytest.fixture
def ring() -> PacketRing:
    return PacketRing(CAPACITY)


def numbers(reader: PacketReader, until_key: bool = False) -> list[int]:
    return [packet.quality.number for packet in reader.take(until_key)]


def test_frames_come_out_once_in_order_with_all_that_went_in(ring: PacketRing) -> None:
    writer, reader = PacketWriter(ring.descriptor), PacketReader(ring.descriptor)
    sent = [packet(number, number == 1, size=7 * number) for number in range(1, 9)]
    for one in sent[:5]:
        writer.write(one)
    assert list(reader.take()) == sent[:5]
    for one in sent[5:]:
        writer.write(one)
    assert list(reader.take()) == sent[5:]
    assert list(reader.take()) == []
    assert (ring.frames, ring.dropped) == (8, 0)


def test_a_change_that_is_not_known_and_formats_come_through(ring: PacketRing) -> None:
    writer, reader = PacketWriter(ring.descriptor), PacketReader(ring.descriptor)
    for form in ("h265", "jpeg"):
        writer.write(Packet(FrameQuality(1, 2, 3.0, 0.0, 0.0, 4.0, math.nan), form, True, b""))  # type: ignore[arg-type]
    first, second = reader.take()
    assert math.isnan(first.quality.change)
    assert (first.format, second.format, first.data) == ("h265", "jpeg", b"")


@pytest.mark.parametrize("size", [10, 90, 333, 1000])
def test_a_ring_that_goes_round_keeps_every_byte(ring: PacketRing, size: int) -> None:
    writer, reader = PacketWriter(ring.descriptor), PacketReader(ring.descriptor)
    for number in range(1, 30):
        sent = packet(number, number == 1, size)
        writer.write(sent)
        assert list(reader.take()) == [sent]


def test_a_slow_recorder_loses_the_oldest_and_goes_on_with_a_keyframe(ring: PacketRing) -> None:
    writer, reader = PacketWriter(ring.descriptor), PacketReader(ring.descriptor)
    for number in range(1, 21):
        writer.write(packet(number, key=number in (1, 15), size=100))
    assert numbers(reader) == [15, 16, 17, 18, 19, 20], "11 to 14 are there, and cannot be decoded"
    reader.done()
    assert ring.dropped == 14
    for number in range(21, 24 + ENTRIES):  # too many, however small
        writer.write(packet(number, key=number == 300, size=0))
    assert numbers(reader) == list(range(300, 24 + ENTRIES))
    reader.done()
    assert ring.dropped == 14 + 279


def test_what_is_overwritten_during_the_copy_is_lost(ring: PacketRing, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, reader = PacketWriter(ring.descriptor), PacketReader(ring.descriptor)
    writer.write(packet(1, key=True, size=600))
    fence = PacketReader._fence

    def overtake(self: PacketReader) -> None:
        fence(self)
        monkeypatch.setattr(PacketReader, "_fence", fence)
        writer.write(packet(2, key=True, size=600))

    monkeypatch.setattr(PacketReader, "_fence", overtake)
    assert list(reader.take()) == [packet(2, key=True, size=600)]


def test_a_frame_larger_than_the_ring_is_refused(ring: PacketRing) -> None:
    with pytest.raises(ValueError, match="1001 bytes does not fit into 1000"):
        PacketWriter(ring.descriptor).write(packet(1, size=1001))
    assert ring.frames == 0


def test_the_next_encoder_goes_on_where_one_has_died(ring: PacketRing) -> None:
    PacketWriter(ring.descriptor).write(packet(1, key=True))
    PacketWriter(ring.descriptor).write(packet(2, key=True))
    assert numbers(PacketReader(ring.descriptor)) == [1, 2]


def test_the_next_recorder_begins_with_the_last_keyframe_that_was_synced(ring: PacketRing) -> None:
    writer, reader = PacketWriter(ring.descriptor), PacketReader(ring.descriptor)
    for number in range(1, 7):
        writer.write(packet(number, key=number in (1, 3)))
    assert len(list(reader.take())) == 6
    writer.write(packet(7))
    assert numbers(PacketReader(ring.descriptor)) == [1, 2, 3, 4, 5, 6, 7], "nothing was synced"
    reader.done()
    assert numbers(PacketReader(ring.descriptor)) == [3, 4, 5, 6, 7]


def test_a_keyframe_is_asked_for_once(ring: PacketRing) -> None:
    reader, writer = PacketReader(ring.descriptor), PacketWriter(ring.descriptor)
    assert not writer.key_wanted
    reader.ask_key()
    assert writer.key_wanted
    assert not writer.key_wanted


class File:
    def __init__(self) -> None:
        self.frames: list[tuple[str, int]] = []

    def add_frame(self, camera: str, packet: Packet) -> None:
        self.frames.append((camera, packet.quality.number))


Tracks = tuple[VideoTracks, PacketWriter, PacketWriter]


@pytest.fixture
def tracks() -> Tracks:
    rings = {name: PacketRing(CAPACITY) for name in ("left", "right")}
    left, right = (PacketWriter(ring.descriptor) for ring in rings.values())
    found = VideoTracks({name: ring.descriptor for name, ring in rings.items()})
    found.begin()
    for writer in (left, right):
        assert writer.key_wanted
        writer.write(packet(1, key=True))
    found._rings = rings  # type: ignore[attr-defined]  # their descriptors live as long as they do
    return found, left, right


def write(tracks: VideoTracks, everything: bool = False) -> list[tuple[str, int]]:
    file = File()
    told = [(camera, quality.number) for camera, quality in tracks.write(file, everything)]
    assert told == file.frames
    return told


def test_a_file_ends_before_the_keyframes_that_were_asked_for(tracks: Tracks) -> None:
    both, left, right = tracks
    assert write(both) == [("left", 1), ("right", 1)]
    assert not both.may_end(False, 10.0)
    assert not both.may_end(True, 10.1)
    assert left.key_wanted
    assert right.key_wanted
    left.write(packet(2))
    left.write(packet(3, key=True))
    assert write(both) == [("left", 2)]
    assert not both.may_end(True, 10.2)
    right.write(packet(2, key=True))
    left.write(packet(4))
    assert write(both) == []
    assert both.may_end(True, 10.3)
    both.begin()
    assert not left.key_wanted
    assert write(both) == [("left", 3), ("left", 4), ("right", 2)]


def test_a_file_does_not_wait_for_long(tracks: Tracks) -> None:
    both, left, right = tracks
    write(both)
    assert not both.may_end(True, 10.0)
    left.write(packet(2, key=True))
    right.write(packet(2))
    assert not both.may_end(True, 10.49)
    assert both.may_end(True, 10.5)
    assert right.key_wanted
    both.begin()
    assert right.key_wanted
    right.write(packet(3))
    right.write(packet(4, key=True))
    assert write(both) == [("left", 2), ("right", 4)], "what cannot be decoded without the file before is lost"


def test_a_file_that_goes_on_after_all_gets_what_comes(tracks: Tracks) -> None:
    both, left, _ = tracks
    write(both)
    assert not both.may_end(True, 10.0)
    left.write(packet(2, key=True))
    assert write(both) == []
    assert not both.may_end(False, 10.1)
    assert write(both) == [("left", 2)]


def test_the_last_file_gets_everything(tracks: Tracks) -> None:
    both, left, _ = tracks
    write(both)
    both.may_end(True, 10.0)
    left.write(packet(2, key=True))
    assert write(both, everything=True) == [("left", 2)]


def test_without_cameras_a_file_ends_at_once() -> None:
    none = VideoTracks({})
    assert not none.may_end(False, 1.0)
    assert none.may_end(True, 1.0)
