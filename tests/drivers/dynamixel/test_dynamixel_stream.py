"""The stream of a bus with everything that happens on a wire."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.motors.dynamixel import frames
from drivers.motors.dynamixel.frames import Instruction, Status, pack_fast
from drivers.motors.dynamixel.stream import PacketStream

IDS = (3, 7, 4)
SIZE = 16
LENGTH = 1 + len(IDS) * (SIZE + 4)
HEADER = 8
SLOT = SIZE + 4


def stream() -> PacketStream:
    return PacketStream(60, IDS, {LENGTH: SLOT, LENGTH + 6: SLOT + 2})


def slots(seed: int = 0, size: int = SIZE) -> list[Status]:
    rng = Random(seed)
    return [Status(ident, 0, rng.randbytes(size)) for ident in IDS]


def flip(data: bytes, place: int, bit: int = 0) -> bytes:
    return data[:place] + bytes((data[place] ^ 1 << bit,)) + data[place + 1 :]


packets = st.one_of(
    st.builds(Status, st.sampled_from(IDS), st.sampled_from([0, 0x80, 7]), st.binary(max_size=20)),
    st.builds(Instruction, st.just(0xFE), st.sampled_from([0x82, 0x83]), st.binary(min_size=4, max_size=20)),
)


@given(st.lists(packets, max_size=8), st.lists(st.integers(1, 30), min_size=1, max_size=20))
def test_every_packet_comes_out_however_the_stream_is_cut(
    sent: list[Instruction | Status], cuts: list[int]
) -> None:
    wire = b"".join(packet.pack() for packet in sent)
    parser, found, at, turn = stream(), [], 0, 0
    while at < len(wire):
        size = cuts[turn % len(cuts)]
        found += parser.feed(wire[at : at + size])
        at, turn = at + size, turn + 1
    assert found == sent
    assert parser.corrupt == 0
    assert not parser.pending


@pytest.mark.parametrize("size", [SIZE, SIZE + 2])
def test_fast_reply_one_byte_at_a_time_gives_each_slot_as_soon_as_it_is_there(size: int) -> None:
    parser, wire = stream(), pack_fast(slots(size=size))
    arrived = [len(parser.feed(wire[at : at + 1])) for at in range(len(wire))]
    assert [at for at, count in enumerate(arrived) if count] == [
        HEADER + (size + 4) * (place + 1) - 1 for place in range(3)
    ]


@given(st.integers(0, 3 * SLOT - 1), st.integers(0, 7), st.booleans())
def test_a_flipped_bit_costs_the_slots_that_it_belongs_to_and_no_other(place: int, bit: int, glued: bool) -> None:
    sent = slots()
    wire = flip(pack_fast(sent), HEADER + place, bit)
    # The CRC of a slot is where the next one's begins, so damage to it costs both.
    in_crc = place % SLOT >= SLOT - 2
    bad = {place // SLOT, place // SLOT + 1} if in_crc else {place // SLOT}
    following = slots(seed=1)
    parser = stream()
    found = parser.feed(wire + pack_fast(following)) if glued else parser.feed(wire)
    if not glued:
        found += parser.feed(pack_fast(following))
    assert found == [slot for number, slot in enumerate(sent) if number not in bad] + following
    assert parser.corrupt >= 1


@given(st.integers(0, HEADER + 3 * SLOT - 1))
def test_a_lost_byte_costs_no_slot_before_it_and_nothing_of_the_next_reply(place: int) -> None:
    sent, following = slots(), slots(seed=1)
    wire = pack_fast(sent)
    parser = stream()
    first = parser.feed(wire[:place] + wire[place + 1 :])
    whole = max(0, (place - HEADER) // SLOT)
    assert first == sent[:whole]
    # The next reply arrives in two pieces, the second one late.
    assert parser.feed(pack_fast(following)) == following


def test_a_dead_motor_cuts_the_reply_and_the_ones_before_it_still_count() -> None:
    sent = slots()
    short = pack_fast(sent[:1], LENGTH)
    parser = stream()
    for _ in range(3):
        assert parser.feed(short) == sent[:1]
    assert parser.feed(pack_fast(sent)) == sent


def test_payload_of_a_fast_reply_may_look_like_a_header() -> None:
    trap = Status(7, 0, (frames.HEADER + b"\x03\x09\x00").ljust(SIZE, b"\x55"))
    sent = [slots()[0], trap, slots()[2]]
    assert stream().feed(pack_fast(sent)) == sent
    # ... even when a slot before it is damaged.
    assert stream().feed(flip(pack_fast(sent), HEADER + 4)) == sent[1:]


def test_a_slot_of_a_motor_that_was_not_asked_is_refused() -> None:
    parser = stream()
    wrong = [slots()[0], Status(9, 0, slots()[1].params), slots()[2]]
    assert parser.feed(pack_fast(wrong)) == [wrong[0], wrong[2]]
    assert parser.corrupt == 1


def test_garbage_and_false_headers_between_packets() -> None:
    good = Status(3, 0, b"\1\2\3")
    parser = stream()
    noise = b"\xff\xff\xff\xfd" + frames.HEADER + b"\x03\xff\xff\x55" + bytes(20)
    assert parser.feed(noise + good.pack() + b"\xff\xff\xfd") == [good]
    assert parser.feed(b"\x00" + good.pack()[4:]) == [good]
    assert parser.corrupt == 1  # the one with an impossible LENGTH; the rest was never a packet


def test_a_wrong_length_does_not_swallow_the_packets_behind_it() -> None:
    good = [Status(ident, 0, bytes(SIZE)) for ident in IDS]
    broken = flip(good[0].pack(), 5, bit=5)
    parser = stream()
    assert parser.feed(broken + b"".join(packet.pack() for packet in good)) == good
    assert parser.corrupt == 1


def test_crc_errors_are_told_with_the_id() -> None:
    parser = stream()
    parser.feed(flip(frames.ping(7), 8))
    assert parser.rejected == [7]
    parser.feed(b"")
    assert parser.rejected == []


def test_status_without_an_error_byte_is_corrupt() -> None:
    parser = stream()
    assert parser.feed(Instruction(3, frames.STATUS).pack()) == []
    assert parser.corrupt == 1


@pytest.mark.parametrize("fast", [True, False])
def test_twenty_per_cent_of_the_replies_lost(fast: bool) -> None:
    rng, parser = Random(4), stream()
    expected, found = [], []
    for cycle in range(300):
        sent = slots(cycle)
        replies = [(sent, pack_fast(sent))] if fast else [([one], one.pack()) for one in sent]
        for content, wire in replies:
            if rng.random() < 0.2:
                continue
            expected += content
            for at in range(len(wire)):
                found += parser.feed(wire[at : at + 1])
    assert found == expected
    assert 0 < len(expected) < 900


@pytest.mark.parametrize("harm", ["lose", "flip"])
@pytest.mark.parametrize("fast", [True, False])
def test_damaged_bytes_never_make_a_false_reading_and_never_stop_the_stream(harm: str, fast: bool) -> None:
    rng, parser = Random(5), stream()
    sent_ever, found = set(), []
    for cycle in range(400):
        sent = slots(cycle)
        sent_ever |= {(one.id, one.params) for one in sent}
        wire = bytearray()
        for byte in pack_fast(sent) if fast else b"".join(one.pack() for one in sent):
            if rng.random() >= 0.01:
                wire.append(byte)
            elif harm == "flip":
                wire.append(byte ^ 1 << rng.randrange(8))
        found += parser.feed(bytes(wire))
        if cycle % 50 == 49:
            # Twice: the first may complete a packet that began before.
            parser.feed(pack_fast(slots()))
            assert parser.feed(pack_fast(slots())) == slots()
    assert all((one.id, one.params) in sent_ever for one in found if isinstance(one, Status))
    assert len(found) > 400
    assert parser.corrupt > 50
