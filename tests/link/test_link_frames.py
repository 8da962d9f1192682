"""Frames and requests, without a socket: every way of cutting the stream gives the same frames."""

from __future__ import annotations

import struct
from pathlib import PurePosixPath
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.link import protocol
from runtime.link.errors import FrameError
from runtime.link.protocol import Decoder


def framed(message: Any) -> bytes:
    body = msgpack.packb(message)
    return struct.pack("<I", len(body)) + body


def decode(decoder: Decoder, data: bytes, step: int) -> list[bytes]:
    bodies = []
    while data:
        count = decoder.feed(data[:step])
        data = data[count:]
        while (body := decoder.frame()) is not None:
            bodies.append(bytes(body))
    return bodies


@given(st.lists(st.binary(max_size=60), max_size=12), st.integers(1, 200))
def test_bodies_survive_every_way_of_cutting_the_stream(bodies: list[bytes], step: int) -> None:
    stream = b"".join(struct.pack("<I", len(body)) + body for body in bodies)
    assert decode(Decoder(limit=60), stream, step) == bodies


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20))
def test_any_bytes_give_frames_or_a_frame_error_and_never_more_memory(chunks: list[bytes]) -> None:
    decoder = Decoder(limit=32)
    for chunk in chunks:
        while chunk:
            count = decoder.feed(chunk)
            assert count > 0
            assert decoder.pending <= 36
            chunk = chunk[count:]
            try:
                while (body := decoder.frame()) is not None:
                    assert len(body) <= 32
            except FrameError:
                assert decoder.ready
                return


@given(st.binary(max_size=300))
def test_any_body_is_a_request_or_malformed(body: bytes) -> None:
    try:
        request = protocol.parse_request(body)
    except FrameError:
        return
    assert request.id >= 0


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["id", "op", "args", "more"]), values, max_size=4))
def test_any_map_is_a_request_or_malformed(message: dict[str, Any]) -> None:
    try:
        request = protocol.parse_request(msgpack.packb(message))
    except FrameError:
        assert type(message.get("id")) is not int or not 0 <= message["id"] < 2**63
    else:
        assert request.id == message["id"]
        well_formed = isinstance(message.get("op"), str) and isinstance(message.get("args", {}), dict)
        assert (request.problem is None) == (well_formed and "more" not in message)


def test_one_byte_at_a_time() -> None:
    decoder = Decoder(limit=64)
    message = framed({"id": 1, "op": "status", "args": {}})
    for byte in message[:-1]:
        assert decoder.feed(bytes([byte])) == 1
        assert not decoder.ready
        assert decoder.frame() is None
    decoder.feed(message[-1:])
    assert decoder.ready
    body = decoder.frame()
    assert body is not None
    assert protocol.parse_request(body) == protocol.Request(1, "status", {})
    assert decoder.pending == 0


def test_a_header_that_claims_too_much_is_refused_before_the_body_comes() -> None:
    decoder = Decoder(limit=100)
    decoder.feed(struct.pack("<I", 101))
    assert decoder.ready
    with pytest.raises(FrameError, match="101 bytes, expected at most 100") as caught:
        decoder.frame()
    assert caught.value.code == "oversize"


def test_the_longest_frame_fits() -> None:
    decoder = Decoder(limit=100)
    decoder.feed(b"\x00\x00\x00\x00")
    assert decoder.frame() == b""
    data = struct.pack("<I", 100) + bytes(100)
    fed = decoder.feed(data)
    fed += decoder.feed(data[fed:])
    assert fed == 104
    assert decoder.full
    assert decoder.feed(b"x") == 0
    assert decoder.frame() == bytes(100)
    assert not decoder.full


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x01",
        msgpack.packb([1, "status"]),
        msgpack.packb({"op": "status"}),
        msgpack.packb({"id": True, "op": "status"}),
        msgpack.packb({"id": -1, "op": "status"}),
        msgpack.packb({"id": "1", "op": "status"}),
        msgpack.packb({"id": 1, "op": "status"}) + b"\x00",
        msgpack.packb({"id": 1, "op": "status"})[:-1],
        b"\x81\xa2id\xff\x01",
        b"\x82\xa2id\x01\xa2op\xa1\xff",
        b"\x82\x01\x02\xa2id\x01",
        b"\x91" * 3000 + b"\xc0",
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xc7\x0c\xff" + bytes(12),
    ],
)
def test_malformed_bodies(body: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        protocol.parse_request(body)
    assert caught.value.code == "malformed"


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ({"id": 7}, "expected the name of an operation"),
        ({"id": 7, "op": 3}, "expected the name of an operation"),
        ({"id": 7, "op": "arm", "args": [1]}, "found args of type list"),
        ({"id": 7, "op": "arm", "arg": {}}, "unknown keys arg"),
    ],
)
def test_requests_that_can_be_answered_but_not_done(message: dict[str, Any], problem: str) -> None:
    request = protocol.parse_request(msgpack.packb(message))
    assert request.id == 7
    assert problem in str(request.problem)


def test_messages_are_what_the_page_says() -> None:
    def body(frame: bytes) -> Any:
        assert struct.unpack("<I", frame[:4])[0] == len(frame) - 4
        return msgpack.unpackb(frame[4:])

    packed = msgpack.packb({"mode": "HOLD"})
    assert body(protocol.hello("1.2.3")) == {"reflexd": "1.2.3", "protocol": 1}
    assert body(protocol.request(5, "arm", {"a": 1})) == {"id": 5, "op": "arm", "args": {"a": 1}}
    assert body(protocol.result(5, packed)) == {"id": 5, "ok": True, "result": {"mode": "HOLD"}}
    assert body(protocol.push(5, "status", packed)) == {"id": 5, "event": "status", "result": {"mode": "HOLD"}}
    assert body(protocol.error(None, "malformed", "no", ("a", "b"))) == {
        "id": None,
        "ok": False,
        "error": {"code": "malformed", "message": "no", "reasons": ["a", "b"]},
    }
    with pytest.raises(FrameError, match="65537 bytes"):
        protocol.frame(bytes(65537))


def test_values_of_the_robot_are_packed_as_plain_ones() -> None:
    value = {
        "array": np.array([1.0, 2.0]),
        "count": np.int64(3),
        "angle": np.float64(0.5),
        "flag": np.bool_(True),
        "path": PurePosixPath("/a/b"),
        "set": {"b", "a"},
    }
    plain = {"array": [1.0, 2.0], "count": 3, "angle": 0.5, "flag": True, "path": "/a/b", "set": ["a", "b"]}
    assert msgpack.unpackb(protocol.pack(value)) == plain
    with pytest.raises(TypeError, match="found a value of type object"):
        protocol.pack(object())
