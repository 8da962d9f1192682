"""A segment that was cut off anywhere is whole again, with everything that was in its whole chunks."""

from __future__ import annotations

import random
from io import BytesIO

import pytest
from mcap.data_stream import ReadDataStream
from mcap.records import Chunk

from runtime.spool.layout import Class
from runtime.spool.recover import Recovered, recover
from tests.spool.segments import make_segment, numbers

DATA, ENDS = make_segment()
EACH = 4


def recovered(data: bytes) -> tuple[Recovered, bytes]:
    file = BytesIO(data)
    return recover(file), file.getvalue()


def chunk_ends() -> list[int]:
    """Where each chunk itself ends, before its message indexes."""
    ends, at = [], 8
    while len(ends) < len(ENDS):
        length = int.from_bytes(DATA[at + 1 : at + 9], "little")
        if DATA[at] == 0x06:
            ends.append(at + 9 + length)
        at += 9 + length
    return ends


def test_a_whole_file_is_left_as_it_is() -> None:
    assert recovered(DATA) == (Recovered(3 * (EACH + 1), 0, Class.BULK), DATA)


def test_every_byte_offset() -> None:
    ends, good = chunk_ends(), set[bytes]()
    for size in range(len(DATA)):
        whole = sum(end <= size for end in ends)
        found, after = recovered(DATA[:size])
        assert found.messages == whole * (EACH + 1), size
        if not whole:
            assert after == DATA[:size], f"{size}: nothing is there, and nothing is changed"
            continue
        assert after[: ends[whole - 1]] == DATA[: ends[whole - 1]], "what was whole is untouched"
        if after not in good:
            assert numbers(after) == list(range(whole * EACH)), size
            assert recovered(after) == (Recovered(found.messages, 0, Class.BULK), after), "and it is whole now"
            good.add(after)
    assert len(good) == len(ENDS), "what was in the way makes no difference"


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_it_becomes_what_the_writer_would_have_written(chunks: int) -> None:
    shorter, _ = make_segment(chunks)
    _, after = recovered(DATA[: ENDS[chunks - 1]])
    assert after == shorter


def test_what_is_cut_is_counted() -> None:
    end = chunk_ends()[1]
    assert recovered(DATA[: end + 5])[0].cut == 0, "part of the indexes that are written anew"
    assert recovered(DATA[:end])[0].cut == 0
    assert recovered(DATA[: ENDS[1] + 100])[0].cut == 100
    assert recovered(DATA[:-3])[0].cut == 0, "only the summary was not whole"


def test_a_recovery_that_is_cut_off_is_recovered() -> None:
    _, once = recovered(DATA[: ENDS[1] + 100])
    for size in range(ENDS[1], len(once), 5):
        assert recovered(once[:size])[1] == once, size


def test_old_bytes_behind_a_new_end_do_not_matter() -> None:
    cut = DATA[: ENDS[1] + 100]
    _, once = recovered(cut)
    for size in range(ENDS[1], len(cut)):
        assert recovered(once[:size] + cut[size:])[1] == once, size


def test_damage_ends_what_is_recovered() -> None:
    generator, good = random.Random(1), set[bytes]()
    for at in range(8, len(DATA)):
        broken = bytearray(DATA)
        broken[at] ^= 1 << generator.randrange(8)
        found, after = recovered(bytes(broken))
        if found.messages and after not in good:
            assert numbers(after) == list(range(found.messages // (EACH + 1) * EACH)), at
            good.add(after)


def test_zeros_at_the_end_are_no_data() -> None:
    found, after = recovered(DATA[: ENDS[1]] + bytes(5000))
    assert found == Recovered(2 * (EACH + 1), 5000, Class.BULK)
    assert numbers(after) == list(range(2 * EACH))


def test_a_chunk_with_a_wrong_checksum_is_not_believed() -> None:
    end = chunk_ends()[2]
    chunk = Chunk.read(ReadDataStream(BytesIO(DATA[ENDS[1] + 9 : end])))
    assert chunk.uncompressed_crc
    wrong = DATA.replace(chunk.uncompressed_crc.to_bytes(4, "little"), b"\x01\x02\x03\x04")
    assert recovered(wrong)[0].messages == 2 * (EACH + 1)


def test_a_stop_makes_it_a_safety_segment() -> None:
    data, ends = make_segment(stop_in=1)
    assert recovered(data[: ends[0]])[0].kind == Class.BULK
    assert recovered(data[: ends[1]])[0].kind == Class.SAFETY
    assert recovered(data)[0].kind == Class.SAFETY


def test_a_head_without_a_chunk_holds_nothing_that_could_be_lost() -> None:
    head = DATA[: DATA.index(b"\x06", 60)]
    assert recovered(head)[0] == Recovered(0, 0, Class.BULK)


@pytest.mark.parametrize("data", [b"", b"hello", bytes(4096), DATA[1:]])
def test_what_is_no_recording_is_not_touched(data: bytes) -> None:
    assert recovered(data) == (Recovered(0, len(data), Class.BULK), data)
