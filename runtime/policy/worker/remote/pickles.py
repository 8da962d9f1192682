"""Pickles from a server that nobody has to trust: read as plain data, and nothing in them is ever run.

`pickle.Unpickler` with an allow-list is not enough: it makes room for whatever memo index or length a pickle
names, and lets a pickle set attributes of the allowed classes. So there are no classes and functions here at all:
the standard library takes a pickle apart (`pickletools.genops`), and what it would have called becomes a `Made`: a
name with its arguments. Every opcode costs no more memory than its own bytes and one small object.

Opcodes: Lib/pickletools.py of CPython. Only those that protocols 2 to 5 write for plain data and for instances are
known; text opcodes (protocols 0 and 1), INST, OBJ, the extension registry and buffers out of band are refused.

Runs in the worker's interpreter: Python 3.9, standard library only.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.policy.worker.errors import Unavailable

MAX_BYTES = 1 << 24
MAX_OPCODES = 200_000
"""A chunk of 100 tensors has about 4,000."""

PERSISTENT = "persistent id"
"""The `maker` of an object that lies outside of the pickle; its id is the only argument."""


class Refused(Unavailable):
    """This is no pickle that we read; the text says where and why."""


@dataclass
class Made:
    """What a pickle asked for: a call of `maker`, and then a state for what came of it."""

    maker: str
    """Module and name with a dot between them."""
    args: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True)
class Global:
    """A class or function by its name."""

    name: str


def parse(data: bytes, allowed: frozenset[str]) -> Any:
    """What the pickle in `data` holds: plain Python data, `Made` and `Global`.

    `allowed`: names of the classes and functions that may occur. Raises Refused.
    """
    if len(data) > MAX_BYTES:
        raise Refused(f"found a pickle of {len(data)} bytes, expected at most {MAX_BYTES}")
    file = io.BytesIO(data)
    found = parse_next(file, allowed)
    if file.read(1):
        raise Refused(f"found more bytes after the pickle's end at byte {file.tell() - 1}, expected none")
    return found


def parse_next(file: io.BytesIO, allowed: frozenset[str], most: int = MAX_OPCODES) -> Any:
    """Likewise for the pickle, of at most `most` opcodes, at which `file` stands; then it stands behind it."""
    machine = _Machine(allowed)
    place = 0
    try:
        for count, (opcode, argument, position) in enumerate(pickletools.genops(file)):
            place = position or 0
            if count == most:
                raise Refused(f"found more than {most} opcodes")
            step = _STEPS.get(opcode.name)
            if step is None:
                raise Refused(f"found opcode {opcode.name}, which plain data does not need")
            step(machine, argument)
    except Refused as error:
        raise Refused(f"refused a pickle at byte {place}: {error}") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        kind = type(error).__name__
        raise Refused(f"refused a pickle that is broken after byte {place}: {kind}: {str(error)[:200]}") from None
    return machine.stack[-1]


def instance(module: str, name: str, state: dict[str, Any]) -> bytes:
    """A pickle of an instance of class `name` in `module`, which need not exist here, with attributes `state`."""
    # Protocol 3 has no frames, so that the state's opcodes can be moved: without PROTO (2 bytes) and STOP.
    attributes = pickle.dumps(state, protocol=3)[2:-1]
    make = pickle.GLOBAL + f"{module}\n{name}\n".encode() + pickle.EMPTY_TUPLE + pickle.NEWOBJ
    return pickle.PROTO + b"\x03" + make + attributes + pickle.BUILD + pickle.STOP


class _Machine:
    """The stack machine that a pickle is a program for."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self.stack: list[Any] = []
        self._below: list[list[Any]] = []
        """The stacks under the marks."""
        self._memo: dict[int, Any] = {}
        self._allowed = allowed

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self, _: None) -> None:
        self._below.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self._below.pop()
        return items

    def memoize(self, index: int | None) -> None:
        # A dict: an index costs the same whether it is 1 or 4294967295.
        self._memo[len(self._memo) if index is None else index] = self.stack[-1]

    def recall(self, index: int) -> None:
        self.push(self._memo[index])

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) < count:
            raise Refused(f"found {len(items)} values, expected {count} for a tuple")
        self.stack[-count:] = [items]

    def tuple_since_mark(self, _: None) -> None:
        items = tuple(self._since_mark())
        self.push(items)

    def append(self, _: None) -> None:
        item = self.stack.pop()
        self._extend([item])

    def appends(self, _: None) -> None:
        self._extend(self._since_mark())

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise Refused(f"found items for a {type(target).__name__}, expected a list")
        target.extend(items)

    def set_item(self, _: None) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def set_items(self, _: None) -> None:
        self._update(self._since_mark())

    def _update(self, items: list[Any]) -> None:
        target, keys = self.stack[-1], items[::2]
        # Only texts: hashing a deeply nested key would exhaust the C stack.
        if type(target) is not dict or len(items) % 2 or not all(type(key) is str for key in keys):
            raise Refused(f"found items for a {type(target).__name__}, expected a dict with texts as keys")
        for place, key in enumerate(keys):
            target[key] = items[2 * place + 1]

    def named(self, name: str) -> None:
        # genops puts a space between module and name.
        name = name.replace(" ", ".", 1)
        if name not in self._allowed:
            raise Refused(f"it names {name[:80]!r}, which is not on the list of what may occur")
        self.push(Global(name))

    def named_on_stack(self, _: None) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(module) is not str or type(name) is not str:
            raise Refused("found a class or function whose name is no text")
        self.named(f"{module} {name}")

    def make(self, _: None) -> None:
        args, maker = self.stack.pop(), self.stack.pop()
        if type(maker) is not Global or type(args) is not tuple:
            raise Refused(
                f"found a call of a {type(maker).__name__}, expected one of a class or function by its name"
            )
        self.push(Made(maker.name, args))

    def set_state(self, _: None) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is not Made or target.state is not None:
            raise Refused(f"found a state for a {type(target).__name__}, expected one for a new instance")
        target.state = state

    def persistent(self, _: None) -> None:
        self.push(Made(PERSISTENT, (self.stack.pop(),)))

    def stop(self, _: None) -> None:
        if len(self.stack) != 1 or self._below:
            raise Refused("found a stack that does not hold one value at the end")


_VALUES = (
    "BININT BININT1 BININT2 LONG1 BINFLOAT SHORT_BINUNICODE BINUNICODE "
    "SHORT_BINBYTES BINBYTES BINBYTES8 BYTEARRAY8"
)
"""Opcodes whose argument is the value."""

_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    **dict.fromkeys(_VALUES.split(), _Machine.push),
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "STOP": _Machine.stop,
    "NONE": lambda machine, _: machine.push(None),
    "NEWTRUE": lambda machine, _: machine.push(True),
    "NEWFALSE": lambda machine, _: machine.push(False),
    "EMPTY_LIST": lambda machine, _: machine.push([]),
    "EMPTY_DICT": lambda machine, _: machine.push({}),
    "EMPTY_TUPLE": lambda machine, _: machine.push(()),
    "MARK": _Machine.mark,
    "TUPLE": _Machine.tuple_since_mark,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "MEMOIZE": _Machine.memoize,
    "BINPUT": _Machine.memoize,
    "LONG_BINPUT": _Machine.memoize,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": _Machine.named,
    "STACK_GLOBAL": _Machine.named_on_stack,
    "REDUCE": _Machine.make,
    "NEWOBJ": _Machine.make,
    "BUILD": _Machine.set_state,
    "BINPERSID": _Machine.persistent,
}
