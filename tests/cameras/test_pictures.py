"""What a policy sees: the newest frame at the moment of the request, in the model's size and numbers."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from drivers.state import JointState
from runtime.policy.terms import ObservationBuilder, ObservationTerm
from runtime.policy.worker.errors import BackendError, Unavailable, WrongShape
from runtime.policy.worker.frames import FrameLayout, FrameWriter, create
from runtime.policy.worker.onnx import OnnxBackend
from runtime.policy.worker.pictures import AgeTerm, Pictures, PictureTerm
from runtime.policy.worker.wire import Reply, parse
from tests.policy.conftest import rig  # noqa: F401

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def term(**changes):
    plain = PictureTerm("top", "image", 6, 4, "hwc", "rgb", "uint8", [0.0] * 3, [1.0] * 3)
    return plain._replace(**changes)


@pytest.fixture
def top():
    descriptor = create(FrameLayout(6, 4))
    yield descriptor
    os.close(descriptor)


class TestTerm:
    def test_as_it_is(self):
        assert np.array_equal(term().picture(PIXELS), PIXELS)

    def test_channels_first(self):
        found = term(layout="chw").picture(PIXELS)
        assert found.shape == term(layout="chw").shape == (3, 4, 6)
        assert np.array_equal(found[1], PIXELS[:, :, 1])
        assert found.flags.c_contiguous

    def test_bgr(self):
        assert np.array_equal(term(colour="bgr").picture(PIXELS)[:, :, 0], PIXELS[:, :, 2])

    def test_gray(self):
        white = np.full((4, 6, 3), 255, np.uint8)
        green = np.zeros_like(white)
        green[:, :, 1] = 100
        gray = term(colour="gray", offset=[0.0], scale=[1.0])
        assert gray.picture(white).shape == gray.shape == (4, 6, 1)
        assert (gray.picture(white) == 255).all()
        assert (gray.picture(green) == 59).all()

    def test_floats(self):
        found = term(dtype="float32", offset=[1.0, 2.0, 3.0], scale=[2.0, 0.5, 1.0]).picture(PIXELS)
        assert found.dtype == np.float32
        assert found[0, 0].tolist() == [-2.0, -0.5, -1.0]

    def test_another_size(self):
        halves = np.zeros((4, 6, 3), np.uint8)
        halves[:, 3:] = 200
        found = term(width=2, height=8).picture(halves)
        assert found.shape == (8, 2, 3)
        assert found.flags.writeable, "torch complains otherwise"
        assert found[4, 0].max() < 60
        assert found[4, 1].min() > 140


class TestPictures:
    def make(self, top, ages=()):
        return Pictures({"terms": [term(), term(input="small", width=3, height=2)], "ages": ages}, {"top": top})

    def test_both_terms_see_the_same_frame(self, top):
        pictures = self.make(top)
        writer = FrameWriter(top)
        writer.write(PIXELS * 0, 5)
        writer.write(PIXELS, 10)
        found, frames = pictures.take(np.zeros(0, np.float32), 20)
        assert frames == [(2, 10)]
        assert np.array_equal(found["image"], PIXELS)
        assert found["small"].shape == (2, 3, 3)

    def test_no_frame_is_no_answer(self, top):
        with pytest.raises(Unavailable, match="camera top has no frame"):
            self.make(top).take(np.zeros(0, np.float32), 20)

    def test_ages_go_into_the_vector(self, top):
        limits = (AgeTerm("top", 1, 0.5, 2.0, float("inf")), AgeTerm("top", 2, 0.0, 1.0, 0.25))
        FrameWriter(top).write(PIXELS, 1_000_000_000)
        vector = np.full(3, 7.0, np.float32)
        self.make(top, limits).take(vector, 2_500_000_000)
        assert vector.tolist() == [7.0, 2.0, 0.25]

    def test_zeros_to_warm_up(self, top):
        assert {name: each.shape for name, each in self.make(top).nothing().items()} == {
            "image": (4, 6, 3),
            "small": (2, 3, 3),
        }


def test_the_builder_leaves_pictures_out_and_ages_to_the_worker():
    terms = [
        ObservationTerm(source="camera.top", width=8, height=6, input="image"),
        ObservationTerm(source="joint.position"),
        ObservationTerm(source="camera.top.age", scale=10.0),
    ]
    builder = ObservationBuilder(terms, ["a", "b"], [], [], 0)
    state = JointState(2)
    state.position[:] = (1.0, 2.0)
    out = np.zeros(3, np.float32)
    assert builder.size == 3
    assert builder.build(out, state, np.zeros(0), np.zeros(0))
    assert out[:2].tolist() == [1.0, 2.0]
    assert [each[:4] for each in builder.pictures] == [("top", "image", 8, 6)]
    assert builder.ages == [AgeTerm("top", 2, 0.0, 10.0, float("inf"))]


def test_a_policy_that_only_sees():
    builder = ObservationBuilder([ObservationTerm(source="camera.top")], ["a"], [], [], 0)
    assert builder.size == 0
    assert builder.build(np.zeros(0, np.float32), JointState(1), np.zeros(0), np.zeros(0))


def test_a_reply_tells_the_frames():
    reply = Reply(0, 1, 2, 3, 4, 5, 6, "some text", 0.5, ((7, 8), (9, 10)))
    assert parse(reply.pack()) == reply


def model(path: Path, vector: bool = True, kind: int = TensorProto.UINT8) -> str:
    """Two values for each of two actions: the mean of the picture, and the first of the vector."""
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], keepdims=0, axes=[1, 2, 3]),
        helper.make_node("Reshape", ["mean", "one"], ["a"]),
    ]
    inputs = [helper.make_tensor_value_info("image", kind, [1, 4, 6, 3])]
    if vector:
        inputs.append(helper.make_tensor_value_info("obs", TensorProto.FLOAT, [1, 2]))
        nodes.append(helper.make_node("Slice", ["obs", "from", "to", "axis"], ["b"]))
    nodes.append(helper.make_node("Concat", ["a", "b" if vector else "a"], ["pair"], axis=1))
    nodes.append(helper.make_node("Expand", ["pair", "chunk"], ["wide"]))
    nodes.append(helper.make_node("Reshape", ["wide", "whole"], ["actions"]))
    numbers = {"one": [1, 1], "from": [0], "to": [1], "axis": [1], "chunk": [2, 2], "whole": [1, 2, 2]}
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [len(values)], values) for name, values in numbers.items()
    ]
    output = helper.make_tensor_value_info("actions", TensorProto.FLOAT, [1, 2, 2])
    graph = helper.make_graph(nodes, "sees", inputs, [output], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return str(path)


GIVEN = {"threads": 1, "timeout": 1.0, "period": 0.02, "horizon": 2, "action_size": 2, "pictures": ["image"]}


class TestOnnx:
    def test_picture_and_vector(self, tmp_path):
        backend = OnnxBackend(model(tmp_path / "m.onnx"), GIVEN)
        backend.see({"image": np.full((4, 6, 3), 9, np.uint8)})
        assert backend.infer(np.array([5, 6], np.float32)).tolist() == [[[9, 5], [9, 5]]]

    def test_only_a_picture(self, tmp_path):
        backend = OnnxBackend(model(tmp_path / "m.onnx", vector=False), GIVEN)
        backend.see({"image": np.full((4, 6, 3), 9, np.uint8)})
        assert backend.infer(np.zeros(0, np.float32)).tolist() == [[[9, 9], [9, 9]]]

    def test_values_that_the_model_does_not_take(self, tmp_path):
        backend = OnnxBackend(model(tmp_path / "m.onnx", vector=False), GIVEN)
        with pytest.raises(WrongShape, match="no input for the 2 values of the observation"):
            backend.infer(np.zeros(2, np.float32))

    def test_another_name(self, tmp_path):
        with pytest.raises(BackendError, match="no input 'top' for a picture; found 'image', 'obs'"):
            OnnxBackend(model(tmp_path / "m.onnx"), {**GIVEN, "pictures": ["top"]})

    def test_another_type(self, tmp_path):
        backend = OnnxBackend(model(tmp_path / "m.onnx"), GIVEN)
        with pytest.raises(BackendError, match=r"'image' is a tensor\(uint8\), but the picture is float32"):
            backend.see({"image": np.zeros((4, 6, 3), np.float32)})

    def test_another_size(self, tmp_path):
        backend = OnnxBackend(model(tmp_path / "m.onnx"), GIVEN)
        with pytest.raises(WrongShape, match=r"shape \[1, 4, 6, 3\], but the picture has \[3, 4, 6\]"):
            backend.see({"image": np.zeros((3, 4, 6), np.uint8)})


async def test_the_worker_reads_the_newest_frame_itself(rig, top, tmp_path):  # noqa: F811
    r = rig(
        backend="onnx",
        model=model(tmp_path / "m.onnx"),
        observation_size=2,
        horizon=2,
        action_size=2,
        cameras={"top": top},
        pictures={"terms": [term()], "ages": [AgeTerm("top", 0, 0.0, 0.0, 1.0)]},
    )
    writer = FrameWriter(top)
    await r.worker.start()
    writer.write(np.full((4, 6, 3), 1, np.uint8), 1)
    r.worker.observation[:] = 5.0
    writer.write(np.full((4, 6, 3), 33, np.uint8), 123)
    chunk = await r.chunk()
    assert chunk.actions.tolist() == [[33.0, 0.0], [33.0, 0.0]]
    assert chunk.frames == {"top": (2, 123)}


async def test_a_worker_whose_camera_has_no_frame_has_no_answer(rig, top, tmp_path):  # noqa: F811
    r = rig(
        backend="onnx",
        model=model(tmp_path / "m.onnx"),
        observation_size=2,
        horizon=2,
        action_size=2,
        cameras={"top": top},
        pictures={"terms": [term()], "ages": []},
    )
    await r.worker.start()
    assert r.worker.request(r.now())
    while r.worker.busy:
        await asyncio.sleep(0.01)
    assert dict(r.worker.failures) == {"unavailable": 1}
