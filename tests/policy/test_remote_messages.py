"""openpi's messages: its bytes exactly, and nothing but numbers out of a server's."""

from __future__ import annotations

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.policy.worker.remote.msgpack_arrays import pack, unpack
from tests.policy.openpi_server import array, found

GOLDEN = bytes.fromhex(
    "81a5737461746584c40b5f5f6e6461727261795f5fc3c40464617461c40c000000000000803f00000040c4056474797065a33c6634"
    "c40573686170659103"
)


def read(message):
    return unpack(message if isinstance(message, bytes) else msgpack.packb(message), msgpack.unpackb)


def test_the_bytes_of_openpi():
    assert pack({"state": np.array([0, 1, 2], np.float32)}, msgpack.packb) == GOLDEN
    assert read(GOLDEN)["state"].tolist() == [0.0, 1.0, 2.0]
    assert read(b"\x80") == {}


def test_a_scalar_of_numpy():
    data = pack({"delay": np.float32(0.5), "n": np.int64(3), "plain": 7}, msgpack.packb)
    assert msgpack.unpackb(data)["delay"] == {b"__npgeneric__": True, b"data": 0.5, b"dtype": "<f4"}
    message = read(data)
    assert message == {"delay": 0.5, "n": 3, "plain": 7}
    assert message["delay"].dtype == np.float32


@given(
    st.sampled_from(["|b1", "|i1", "<u2", ">i4", "<i8", "<f2", "<f4", ">f8"]),
    st.lists(st.integers(0, 3), max_size=4),
)
def test_arrays_go_there_and_back(dtype, shape):
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    data = pack({"a": values}, msgpack.packb)
    for back in (read(data)["a"], msgpack.unpackb(data, object_hook=found)["a"]):
        assert back.dtype == np.dtype(dtype)
        assert np.array_equal(back, values)


def test_arrays_of_a_server_cannot_be_written_to():
    with pytest.raises(ValueError, match="read-only"):
        read(GOLDEN)["state"][0] = 1.0


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (array(b"\0" * 8, "|O", [1]), r"found an array of type '\|O', expected numbers"),
        (array(b"\0" * 8, "<c8", [1]), "expected numbers"),
        (array(b"\0" * 8, "|V8", [1]), "expected numbers"),
        (array(b"\0" * 8, "<U2", [1]), "expected numbers"),
        (array(b"\0" * 8, "<M8[s]", [1]), "expected numbers"),
        (array(b"\0" * 8, "f4,i4", [1]), "expected numbers"),
        (array(b"\0" * 8, [["x", "<f4"]], [2]), "expected numbers"),
        (array(b"\0" * 8, "<f4", [3]), r"type float32, shape \[3\] and 8 bytes"),
        (array(b"\0" * 8, "<f4", [2**40, 2**40]), "and 8 bytes"),
        (array(b"\0" * 8, "<f4", [-1, -2]), r"found an array of shape \[-1, -2\]"),
        (array(b"\0" * 8, "<f4", [-1]), "found an array of shape"),
        (array(b"\0" * 8, "<f4", [True, 2]), "found an array of shape"),
        (array(b"", "<f4", [2.0]), "found an array of shape"),
        (array(b"\0" * 8, "<f4", [1] * 9), "without data or shape"),
        ({b"__ndarray__": True}, "expected numbers"),
        ({b"__ndarray__": True, b"dtype": "<f4", b"data": "text", b"shape": [1]}, "without data or shape"),
        ({b"__npgeneric__": True, b"dtype": "<f4", b"data": "text"}, "no number"),
        ({b"__npgeneric__": True, b"dtype": "|O", b"data": 1}, "expected numbers"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(value, error):
    with pytest.raises(ValueError, match=error):
        read({"actions": value})


@pytest.mark.parametrize(
    "message",
    [
        [1, 2],
        b"\xc1",
        b"\x81\xa1a",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 100_000,
        GOLDEN + b"\0",
    ],
)
def test_what_is_no_message_is_refused(message):
    with pytest.raises(ValueError, match=r"^"):  # msgpack's own errors, all of that kind
        read(message)


@given(st.binary(max_size=60), st.integers(0, len(GOLDEN)))
def test_noise_is_refused_or_harmless(noise, place):
    """Whatever comes, the answer is a map or a ValueError."""
    for message in (noise, GOLDEN[:place] + noise + GOLDEN[place + len(noise) :]):
        try:
            assert isinstance(read(message), dict)
        except (ValueError, OverflowError):
            continue
