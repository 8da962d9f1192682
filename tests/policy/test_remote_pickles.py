"""Pickles from a server that lies: each ends with one error, and nothing of it has run."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
import struct
import sys
import types

import pytest

from runtime.policy.worker.remote.pickles import MAX_BYTES, MAX_OPCODES, Global, Made, Refused, instance, parse
from runtime.policy.worker.remote.tensors import NAMES, array

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
ORDERED = b"ccollections\nOrderedDict\n"
"""A name that is on the list."""
DEEP = MAX_OPCODES // 2 - 10


class Calls:
    """Pickles as a call of a function with arguments, and likewise a state."""

    def __init__(self, function, *args, state=None):
        self._reduced = (function, args, state)

    def __reduce__(self):
        return self._reduced


PROGRAMS = {
    "a name with a module inside": (b"\x80\x04\x8c\x0bcollections\x8c\x0fabc.sys.modules\x93.", "it names"),
    "a name out of parts that are no texts": (b"\x80\x04\x8c\x02os]\x93.", "no text"),
    "a call of what is no name": (b"\x80\x04N)R.", "found a call of a NoneType"),
    "a call with what are no arguments": (b"\x80\x02" + ORDERED + b"]R.", "found a call"),
    "a call of what a call has made": (b"\x80\x02" + ORDERED + b")R)R.", "found a call of a Made"),
    "a state for a class": (b"\x80\x02" + ORDERED + b"}b.", "found a state for a Global"),
    "a second state": (b"\x80\x02" + ORDERED + b")\x81}b}b.", "found a state for a Made"),
    "items for what was made": (b"\x80\x02" + ORDERED + b")RK\x01a.", "found items for a Made"),
    "a key that is a tuple": (b"\x80\x02})K\x01s.", "texts as keys"),
    "an odd number of items": (b"\x80\x02}(X\x01\x00\x00\x00au.", "found items"),
    "a name as a text (protocol 0)": (b"I1\n.", "opcode INT"),
    "an old instance": (b"(ios\nsystem\n.", "opcode INST"),
    "an old object": (b"(cos\nsystem\no.", "it names 'os.system'"),
    "keyword arguments": (b"\x80\x04" + ORDERED + b")}\x92.", "opcode NEWOBJ_EX"),
    "the extension registry": (b"\x80\x02\x82\x01.", "opcode EXT1"),
    "the extension registry, wide": (b"\x80\x02\x84\x01\x00\x00\x00.", "opcode EXT4"),
    "a persistent id as text": (b"Pos.system\n.", "opcode PERSID"),
    "a buffer out of band": (b"\x80\x05\x97.", "opcode NEXT_BUFFER"),
    "a set": (b"\x80\x04\x8f.", "opcode EMPTY_SET"),
    "an unknown opcode": (b"\x80\x02\xff.", "broken"),
    "no end": (b"\x80\x02]", "broken"),
    "nothing": (b"", "broken"),
    "nothing at the end": (b"\x80\x02.", "one value"),
    "two values at the end": (b"\x80\x02NN.", "one value"),
    "an open mark": (b"\x80\x02(N.", "one value"),
    "no mark": (b"\x80\x02Nt.", "broken"),
    "too few for a tuple": (b"\x80\x02N\x87.", "expected 3"),
    "an empty memo": (b"\x80\x02h\x07.", "broken"),
    "more behind its end": (b"\x80\x02N.N", "more bytes"),
    "a text that is no UTF-8": (b"\x80\x02X\x01\x00\x00\x00\xff.", "broken"),
}


class TestPlainData:
    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize(
        "data",
        [
            None,
            [True, False, 0, 255, 256, 65536, -1, 1 << 70, 1.5],
            {"a": [{}, [], ()], "b": ((1,), (1, 2), (1, 2, 3), (1, 2, 3, 4))},
            ["text", "text" * 100, "ä", ""],
            [[0.5]] * 3,
        ],
    )
    def test_is_read(self, data, protocol):
        assert parse(pickle.dumps(data, protocol), frozenset()) == data

    @pytest.mark.parametrize("data", [b"", b"\x00" * 300, bytearray(b"abc")])
    def test_bytes_are_read(self, data):
        assert parse(pickle.dumps(data, 5), frozenset()) == data

    def test_a_call_stays_a_name_with_arguments(self):
        data = pickle.dumps(Calls(collections.OrderedDict, state={"a": 1}))
        assert parse(data, NAMES) == Made("collections.OrderedDict", (), {"a": 1})
        assert parse(pickle.dumps(collections.OrderedDict), NAMES) == Global("collections.OrderedDict")

    def test_an_instance_is_written_of_a_class_that_is_not_here(self, monkeypatch):
        module = types.ModuleType("faraway")
        thing = type("Thing", (), {"__init__": None, "__module__": "faraway"})
        monkeypatch.setattr(module, "Thing", thing, raising=False)
        data = instance("faraway", "Thing", {"step": 7, "names": ["a", "a"]})
        assert parse(data, frozenset({"faraway.Thing"})) == Made(
            "faraway.Thing", (), {"step": 7, "names": ["a", "a"]}
        )
        monkeypatch.setitem(sys.modules, "faraway", module)
        found = pickle.loads(data)
        assert type(found) is thing
        assert vars(found) == {"step": 7, "names": ["a", "a"]}


class TestAttacks:
    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize(
        ("function", "args"),
        [
            (os.system, ("touch {}",)),
            (builtins.eval, ("open({!r}, 'w')",)),
            (builtins.exec, ("open({!r}, 'w')",)),
            (builtins.getattr, (collections.OrderedDict, "__init__")),
            (builtins.__import__, ("antigravity",)),
            (pickle.loads, (b"N.",)),
        ],
    )
    def test_a_call(self, tmp_path, protocol, function, args):
        trace = tmp_path / "was_here"
        data = pickle.dumps(
            Calls(function, *[a.format(str(trace)) if isinstance(a, str) else a for a in args]), protocol
        )
        with pytest.raises(Refused):
            parse(data, NAMES)
        assert not trace.exists()

    def test_the_name_is_told(self):
        with pytest.raises(Refused, match=r"it names '(posix|nt)\.system', which is not on the list"):
            parse(pickle.dumps(Calls(os.system, "true"), 4), NAMES)

    @pytest.mark.parametrize(("data", "words"), PROGRAMS.values(), ids=PROGRAMS)
    def test_a_program(self, data, words):
        with pytest.raises(Refused, match=words):
            parse(data, NAMES)

    @pytest.mark.parametrize(
        "data",
        [
            b"\x80\x02X" + struct.pack("<I", 0xFFFFFFFF) + b"a.",
            b"\x80\x03B" + struct.pack("<I", 0xFFFFFFFF) + b"a.",
            b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"a.",
            b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b"a.",
            b"\x80\x02\x8b" + struct.pack("<i", 0x7FFFFFFF) + b"a.",
            b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"\x8b\xff\xff\xff\x7f.",
        ],
    )
    def test_a_length_that_the_pickle_does_not_have(self, data):
        with pytest.raises(Refused, match="broken"):
            parse(data, NAMES)

    def test_a_memo_index_costs_nothing(self):
        """The standard unpickler makes room for twice as many entries as the index says: 64 GiB here."""
        assert parse(b"\x80\x02]r\xff\xff\xff\xff.", NAMES) == []

    def test_too_long(self):
        with pytest.raises(Refused, match="expected at most"):
            parse(bytes(MAX_BYTES + 1), NAMES)

    def test_too_many_opcodes(self):
        with pytest.raises(Refused, match="more than 200000 opcodes"):
            parse(b"\x80\x02(" + b"]" * MAX_OPCODES + b"t.", NAMES)

    def test_a_bomb_of_references_is_not_walked_through(self):
        """60 levels of [x, x]: 10^18 lists for whoever looks at each."""
        levels = b"".join(b"]q%c(h%ch%ce" % (i + 1, i, i) for i in range(60))
        found = parse(b"\x80\x02(]q\x00" + levels + b"t.", NAMES)
        assert len(found) == 61
        with pytest.raises(Refused, match="found list in a pickle"):
            array(found[-1])

    @pytest.mark.parametrize("data", [b"N" + b"\x85" * DEEP, b"]" * DEEP + b"a" * (DEEP - 1)])
    def test_very_deep_data_recurses_nowhere(self, data):
        found = parse(b"\x80\x02" + data + b".", NAMES)
        with pytest.raises(Refused, match="in a pickle, expected a tensor"):
            array(found)
        del found
