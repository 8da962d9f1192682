from __future__ import annotations

import struct
from random import Random

import pytest

from drivers.emulated.links import BYTE_NS, Link, LinkFaults

FRAME = struct.pack("<IBxxx8s", 0x123, 8, b"\x00" * 8)


def serial(**faults: float) -> Link:
    link = Link("serial", Random(1))
    link.set(LinkFaults(**faults))  # type: ignore[arg-type]
    return link


def can(**faults: float) -> Link:
    link = Link("can", Random(1))
    link.set(LinkFaults(**faults))  # type: ignore[arg-type]
    return link


def test_a_good_wire_carries_everything_at_once() -> None:
    link = Link("serial", Random(1))
    assert link.to_device(b"abc", 100) == [(100, b"abc")]
    assert link.to_host(b"def", 150) == [(150, b"def")]


def test_serial_loses_single_bytes() -> None:
    link = serial(loss=0.2)
    arrived = b"".join(chunk for _ in range(100) for _, chunk in link.to_device(bytes(range(100)), 0))
    assert 7_800 < len(arrived) < 8_200


def test_a_chunk_that_is_lost_whole_does_not_arrive_empty() -> None:
    assert serial(loss=1.0).to_host(b"abc", 0) == []


def test_can_loses_whole_frames() -> None:
    link = can(loss=0.2)
    arrived = [chunk for _ in range(1000) for _, chunk in link.to_host(FRAME, 0)]
    assert 750 < len(arrived) < 850
    assert set(arrived) == {FRAME}


def test_serial_corruption_flips_one_bit_of_a_byte() -> None:
    sent = bytes(10_000)
    ((_, arrived),) = serial(corrupt=0.1).to_host(sent, 0)
    assert len(arrived) == len(sent)
    harmed = [byte for byte in arrived if byte]
    assert 900 < len(harmed) < 1_100
    assert {byte.bit_count() for byte in harmed} == {1}


def test_can_corruption_flips_one_bit_of_id_or_data() -> None:
    link = can(corrupt=1.0)
    ids, data = 0, 0
    for _ in range(500):
        ((_, arrived),) = link.to_device(FRAME, 0)
        can_id, size, payload = struct.unpack("<IBxxx8s", arrived)
        flipped = (can_id ^ 0x123).bit_count(), int.from_bytes(payload, "little").bit_count()
        assert sum(flipped) == 1
        assert size == 8
        assert can_id <= 0x7FF
        ids += flipped[0]
        data += flipped[1]
    assert ids > 0
    assert data > ids


def test_can_corruption_stays_inside_a_short_frame() -> None:
    link = can(corrupt=1.0)
    short = struct.pack("<IBxxx8s", 0x123, 2, b"\x00" * 8)
    for _ in range(200):
        ((_, arrived),) = link.to_device(short, 0)
        assert arrived[10:] == bytes(6)


def test_delay_acts_in_both_directions() -> None:
    link = serial(delay_s=0.003)
    assert link.to_device(b"a", 1_000) == [(3_001_000, b"a")]
    assert link.to_host(b"b", 5_000) == [(3_005_000, b"b")]


def test_a_shorter_delay_never_lets_bytes_overtake() -> None:
    link = serial(delay_s=0.003)
    link.to_host(b"a", 0)
    link.set(LinkFaults())
    assert link.to_host(b"b", 1_000) == [(3_000_000, b"b")]
    assert link.to_device(b"c", 1_000) == [(1_000, b"c")]


def test_split_sends_serial_replies_byte_by_byte() -> None:
    link = serial(split=True)
    assert link.to_host(b"abc", 100) == [(100, b"a"), (100 + BYTE_NS, b"b"), (100 + 2 * BYTE_NS, b"c")]
    assert link.to_host(b"d", 100) == [(100 + 2 * BYTE_NS, b"d")]
    assert link.to_device(b"abc", 100) == [(100, b"abc")]


def test_split_leaves_can_frames_whole() -> None:
    assert can(split=True).to_host(FRAME, 5) == [(5, FRAME)]


def test_same_seed_same_faults() -> None:
    def run() -> list[tuple[int, bytes]]:
        link = serial(loss=0.3, corrupt=0.3)
        return [arrival for _ in range(50) for arrival in link.to_host(b"0123456789", 0)]

    assert run() == run()


@pytest.mark.parametrize(
    ("faults", "text"),
    [({"loss": 1.5}, "loss"), ({"corrupt": -0.1}, "corrupt"), ({"delay_s": 60.0}, "delay_s")],
)
def test_impossible_faults_are_refused(faults: dict[str, float], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        LinkFaults(**faults)  # type: ignore[arg-type]
