"""Tensors and arrays out of pickles: those that the real libraries write, and those that lie about their size."""

from __future__ import annotations

import base64
import io
import pickle
import struct

import numpy as np
import pytest

from runtime.policy.worker.remote.lerobot_wire import actions
from runtime.policy.worker.remote.pickles import Global, Made, Refused, parse
from runtime.policy.worker.remote.tensors import NAMES, array

# What LeRobot 0.6.1 sends with torch 2.11: two actions of three values from -1 in steps of 0.25, for timestep 7.
FLOAT32 = (
    "gASVVAMAAAAAAABdlCiMH2xlcm9ib3QuYXN5bmNfaW5mZXJlbmNlLmhlbHBlcnOUjAtUaW1lZEFjdGlvbpSTlCmBlH2UKIwJdGltZXN0YW"
    "1wlEdAWQAAAAAAAIwIdGltZXN0ZXCUSweMBmFjdGlvbpSMDHRvcmNoLl91dGlsc5SMEl9yZWJ1aWxkX3RlbnNvcl92MpSTlCiMDXRvcmNo"
    "LnN0b3JhZ2WUjBBfbG9hZF9mcm9tX2J5dGVzlJOUQhMBAACAAooKbPycRvkgaqhQGS6AAk3pAy6AAn1xAChYEAAAAHByb3RvY29sX3Zlcn"
    "Npb25xAU3pA1gNAAAAbGl0dGxlX2VuZGlhbnECiFgKAAAAdHlwZV9zaXplc3EDfXEEKFgFAAAAc2hvcnRxBUsCWAMAAABpbnRxBksEWAQA"
    "AABsb25ncQdLBHV1LoACKFgHAAAAc3RvcmFnZXEAY3RvcmNoCkZsb2F0U3RvcmFnZQpxAVgOAAAAOTQxNDEzNjg4Njg1NjBxAlgDAAAAY3"
    "B1cQNLBk50cQRRLoACXXEAWA4AAAA5NDE0MTM2ODg2ODU2MHEBYS4GAAAAAAAAAAAAgL8AAEC/AAAAvwAAgL4AAAAAAACAPpSFlFKUSwBL"
    "A4WUSwGFlImMC2NvbGxlY3Rpb25zlIwLT3JkZXJlZERpY3SUk5QpUpR0lFKUdWJoAymBlH2UKGgGR0BZQAAAAAAAaAdLCGgIaAsoaA5CEw"
    "EAAIACigps/JxG+SBqqFAZLoACTekDLoACfXEAKFgQAAAAcHJvdG9jb2xfdmVyc2lvbnEBTekDWA0AAABsaXR0bGVfZW5kaWFucQKIWAoA"
    "AAB0eXBlX3NpemVzcQN9cQQoWAUAAABzaG9ydHEFSwJYAwAAAGludHEGSwRYBAAAAGxvbmdxB0sEdXUugAIoWAcAAABzdG9yYWdlcQBjdG"
    "9yY2gKRmxvYXRTdG9yYWdlCnEBWA4AAAA5NDE0MTM2ODg2ODU2MHECWAMAAABjcHVxA0sGTnRxBFEugAJdcQBYDgAAADk0MTQxMzY4ODY4"
    "NTYwcQFhLgYAAAAAAAAAAACAvwAAQL8AAAC/AACAvgAAAAAAAIA+lIWUUpRLA0sDhZRLAYWUiWgWKVKUdJRSlHViZS4="
)
BFLOAT16 = (
    "gASVQgMAAAAAAABdlCiMH2xlcm9ib3QuYXN5bmNfaW5mZXJlbmNlLmhlbHBlcnOUjAtUaW1lZEFjdGlvbpSTlCmBlH2UKIwJdGltZXN0YW"
    "1wlEdAWQAAAAAAAIwIdGltZXN0ZXCUSweMBmFjdGlvbpSMDHRvcmNoLl91dGlsc5SMEl9yZWJ1aWxkX3RlbnNvcl92MpSTlCiMDXRvcmNo"
    "LnN0b3JhZ2WUjBBfbG9hZF9mcm9tX2J5dGVzlJOUQgoBAACAAooKbPycRvkgaqhQGS6AAk3pAy6AAn1xAChYEAAAAHByb3RvY29sX3Zlcn"
    "Npb25xAU3pA1gNAAAAbGl0dGxlX2VuZGlhbnECiFgKAAAAdHlwZV9zaXplc3EDfXEEKFgFAAAAc2hvcnRxBUsCWAMAAABpbnRxBksEWAQA"
    "AABsb25ncQdLBHV1LoACKFgHAAAAc3RvcmFnZXEAY3RvcmNoCkJGbG9hdDE2U3RvcmFnZQpxAVgOAAAAOTQxNDEzNjgwNzk1MDRxAlgDAA"
    "AAY3B1cQNLBk50cQRRLoACXXEAWA4AAAA5NDE0MTM2ODA3OTUwNHEBYS4GAAAAAAAAAIC/QL8Av4C+AACAPpSFlFKUSwBLA4WUSwGFlImM"
    "C2NvbGxlY3Rpb25zlIwLT3JkZXJlZERpY3SUk5QpUpR0lFKUdWJoAymBlH2UKGgGR0BZQAAAAAAAaAdLCGgIaAsoaA5CCgEAAIACigps/J"
    "xG+SBqqFAZLoACTekDLoACfXEAKFgQAAAAcHJvdG9jb2xfdmVyc2lvbnEBTekDWA0AAABsaXR0bGVfZW5kaWFucQKIWAoAAAB0eXBlX3Np"
    "emVzcQN9cQQoWAUAAABzaG9ydHEFSwJYAwAAAGludHEGSwRYBAAAAGxvbmdxB0sEdXUugAIoWAcAAABzdG9yYWdlcQBjdG9yY2gKQkZsb2"
    "F0MTZTdG9yYWdlCnEBWA4AAAA5NDE0MTM2ODA3OTUwNHECWAMAAABjcHVxA0sGTnRxBFEugAJdcQBYDgAAADk0MTQxMzY4MDc5NTA0cQFh"
    "LgYAAAAAAAAAgL9AvwC/gL4AAIA+lIWUUpRLA0sDhZRLAYWUiWgWKVKUdJRSlHViZS4="
)

STORAGE = "torch.storage._load_from_bytes"
TENSOR = "torch._utils._rebuild_tensor_v2"


def storage(
    values, kind="FloatStorage", count=None, key="7", keys=None, magic=0x1950A86A20F9469CFC6C, little=True
):
    """A storage in torch's legacy format, written without torch."""
    file = io.BytesIO()
    for each in (magic, 1001, {"protocol_version": 1001, "little_endian": little, "type_sizes": {"int": 4}}):
        pickle.dump(each, file, 2)
    count = len(values) if count is None else count
    file.write(b"\x80\x02(" + pickle.dumps("storage", 2)[2:-1] + f"ctorch\n{kind}\n".encode())
    file.write(pickle.dumps(key, 2)[2:-1] + pickle.dumps("cpu", 2)[2:-1] + pickle.dumps(count, 2)[2:-1] + b"NtQ.")
    pickle.dump([key] if keys is None else keys, file, 2)
    file.write(struct.pack("<q", len(values)) + values.tobytes())
    return Made(STORAGE, (file.getvalue(),))


def tensor(values, offset=0, shape=None, strides=(1,), **lies):
    shape = (len(values),) if shape is None else shape
    return Made(
        TENSOR, (storage(values, **lies), offset, shape, strides, False, Made("collections.OrderedDict", ()))
    )


SIX = np.arange(6, dtype="<f4")


@pytest.mark.parametrize("sent", [FLOAT32, BFLOAT16])
def test_what_lerobot_sends(sent):
    assert actions(base64.b64decode(sent), 7).tolist() == [[-1.0, -0.75, -0.5], [-0.25, 0.0, 0.25]]
    with pytest.raises(Refused, match="another observation"):
        actions(base64.b64decode(sent), 8)


def test_a_view_into_a_storage():
    assert array(tensor(SIX)).tolist() == [0, 1, 2, 3, 4, 5]
    assert array(tensor(SIX, 3, (3,))).tolist() == [3, 4, 5]
    assert array(tensor(SIX, 1, (2, 2), (3, 1))).tolist() == [[1, 2], [4, 5]]
    assert array(tensor(SIX, 0, (0, 2), (2, 1))).shape == (0, 2)


@pytest.mark.parametrize(
    ("kind", "dtype"), [("DoubleStorage", "<f8"), ("FloatStorage", "<f4"), ("HalfStorage", "<f2")]
)
def test_kinds_of_floats(kind, dtype):
    assert array(tensor(np.array([0.5, -2.0], dtype), kind=kind)).tolist() == [0.5, -2.0]


def test_bfloat16():
    upper = np.array([0x3F80, 0xC000], "<u2")
    assert array(tensor(upper, kind="BFloat16Storage")).tolist() == [1.0, -2.0]


@pytest.mark.parametrize(
    "lie",
    [
        tensor(SIX, 1),
        tensor(SIX, 0, (6,), (2,)),
        tensor(SIX, 0, (1 << 40,), (0,)),
        tensor(SIX, 0, (1 << 40, 1 << 40, 0), (1, 1, 1)),
        tensor(SIX, -1, (1,)),
        tensor(SIX, 0, (-1,)),
        tensor(SIX, 0, (6,), (1, 1)),
        tensor(SIX, 0, [6]),
        tensor(SIX, 0, (6.0,)),
        tensor(SIX, True, (1,)),
        tensor(SIX, 0, (1,) * 9, (1,) * 9),
        tensor(SIX, count=1 << 40),
        tensor(SIX, count="6"),
        tensor(SIX, keys=["8"]),
        tensor(SIX, keys=[]),
        tensor(SIX, keys=["7"] * 100),
        tensor(SIX, key=["7"], keys=[["7"]]),
        tensor(SIX, magic=1),
        tensor(SIX, little=False),
        tensor(SIX, kind="LongStorage"),
        tensor(SIX, kind="DoubleStorage"),
        Made(TENSOR, (SIX, 0, (6,), (1,))),
        Made(TENSOR, (Made(STORAGE, ()), 0, (6,), (1,))),
        Made(TENSOR, (Made(STORAGE, (b"",)), 0, (6,), (1,))),
        Made(TENSOR, (Made(STORAGE, ("text",)), 0, (6,), (1,))),
        Made(TENSOR, (Made("collections.OrderedDict", ()), 0, (6,), (1,))),
        Made(TENSOR, ()),
        Made(STORAGE, (b"",)),
        Made("collections.OrderedDict", ()),
        Global("numpy.ndarray"),
        [1.0, 2.0],
        None,
    ],
)
def test_a_lie_is_refused(lie):
    with pytest.raises(Refused):
        array(lie)


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "values",
    [
        np.array([0.5, -2.0], "<f4"),
        np.array([0.5, -2.0], ">f8"),
        np.array([[1, 2], [3, 4], [5, 6]], "<f2"),
        np.asfortranarray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
        np.array(2.5),
    ],
)
def test_arrays_of_numpy(values, protocol):
    found = array(parse(pickle.dumps(values, protocol), NAMES))
    assert found.shape == values.shape
    assert found.tolist() == values.tolist()


@pytest.mark.parametrize(
    "values", [np.arange(3), np.array([None]), np.array(["a"]), np.array([1j]), np.zeros(2, [("a", "<f4")])]
)
@pytest.mark.parametrize("protocol", [4, 5])
def test_other_arrays_are_refused(values, protocol):
    with pytest.raises(Refused):
        array(parse(pickle.dumps(values, protocol), NAMES))


@pytest.mark.parametrize("shape", [(1 << 40,), (3,), (-1,), "ab", None])
def test_an_array_that_lies_about_its_shape(shape):
    dtype = Made("numpy.dtype", ("f4", False, True), (3, "<", None, None, None, -1, -1, 0))
    for core in ("core", "_core"):
        with pytest.raises(Refused):
            array(Made(f"numpy.{core}.numeric._frombuffer", (SIX.tobytes(), dtype, shape, "C")))
        with pytest.raises(Refused):
            array(Made(f"numpy.{core}.multiarray._reconstruct", (), (1, shape, dtype, False, SIX.tobytes())))
