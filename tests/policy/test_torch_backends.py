"""Models saved by the real PyTorch: TorchScript and torch.export."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from runtime.policy.errors import PolicyError  # noqa: E402
from runtime.policy.worker.errors import BackendError, WrongShape  # noqa: E402
from runtime.policy.worker.torch_models import TorchExportBackend, TorchScriptBackend  # noqa: E402

# PyTorch's own advice to whoever saves a model, not to who loads one.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.* is deprecated")
OBSERVATION = np.arange(6, dtype=np.float32)


class Chunk(torch.nn.Module):
    """Three actions of two values: the observation times 2, plus 1."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(6, 6)
        torch.nn.init.eye_(self.layer.weight)
        torch.nn.init.ones_(self.layer.bias)

    def forward(self, x):
        return self.layer(2.0 * x).reshape(-1, 3, 2)


class Pair(Chunk):
    def forward(self, x):
        return self.layer(x).reshape(-1, 3, 2), x.sum()


class Named(Chunk):
    def forward(self, x):
        return {"actions": self.layer(x).reshape(-1, 3, 2), "value": x.sum()}


class Seeing(torch.nn.Module):
    """One action of two values: the mean of a picture, and the sum of the vector."""

    def forward(self, top, x):
        return torch.stack([top.float().mean(), x.sum()]).reshape(1, 1, 2)


class OnlySeeing(torch.nn.Module):
    def forward(self, top):
        return (top.float().mean() + torch.zeros(2)).reshape(1, 1, 2)


class Two(torch.nn.Module):
    def forward(self, x, y):
        return x + y


def script(tmp_path, module, *inputs):
    path = str(tmp_path / "m.ts")
    torch.jit.save(torch.jit.trace(module, inputs or (torch.zeros(1, 6),), strict=False), path)
    return path


def export(tmp_path, module, *inputs, **about):
    path = str(tmp_path / "m.pt2")
    torch.export.save(torch.export.export(module, inputs or (torch.zeros(1, 6),), **about), path)
    return path


def load_script(path, **options):
    return TorchScriptBackend(path, {"threads": 1, **options})


def load_export(path, **options):
    return TorchExportBackend(path, {"threads": 1, **options})


KINDS = [(script, load_script), (export, load_export)]


@pytest.mark.parametrize(("save", "load"), KINDS)
def test_it_gives_what_the_module_gives(tmp_path, save, load):
    backend = load(save(tmp_path, Chunk()))
    for _ in range(3):
        output = backend.infer(OBSERVATION)
    assert output.dtype == np.float32
    assert output.tolist() == [[[1.0, 3.0], [5.0, 7.0], [9.0, 11.0]]]
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(("save", "load"), KINDS)
def test_half_precision(tmp_path, save, load):
    if save is export:
        path = export(tmp_path, Chunk().half(), torch.zeros(1, 6, dtype=torch.float16))
    else:
        path = str(tmp_path / "m.ts")
        torch.jit.save(torch.jit.trace(Chunk().half(), torch.zeros(1, 6, dtype=torch.float16)), path)
    output = load(path).infer(OBSERVATION)
    assert output.dtype == np.float32
    assert output[0, 2].tolist() == [9.0, 11.0]


@pytest.mark.parametrize(("save", "load"), KINDS)
@pytest.mark.parametrize(
    ("module", "names", "choice"), [(Pair, "'0', '1'", 0), (Named, "'actions', 'value'", "actions")]
)
def test_one_of_several_outputs_must_be_chosen(tmp_path, save, load, module, names, choice):
    path = save(tmp_path, module())
    with pytest.raises(BackendError, match=rf"2 outputs \({names}\); choose one with options\.output"):
        load(path).infer(OBSERVATION)
    assert load(path, output=choice).infer(OBSERVATION).shape == (1, 3, 2)
    with pytest.raises(BackendError, match=r"no output 'acts'; found"):
        load(path, output="acts").infer(OBSERVATION)


def test_an_exported_model_for_another_observation(tmp_path):
    with pytest.raises(WrongShape, match=r"input 'x' of the model has shape \[1, 6\], .* give 5 values"):
        load_export(export(tmp_path, Chunk())).infer(OBSERVATION[:5])


def test_an_exported_model_with_a_free_batch(tmp_path):
    path = export(tmp_path, Chunk(), torch.zeros(2, 6), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert load_export(path).infer(OBSERVATION).shape == (1, 3, 2)


def test_an_exported_model_with_two_inputs(tmp_path):
    path = export(tmp_path, Two(), torch.zeros(1, 6), torch.zeros(1, 6))
    with pytest.raises(BackendError, match=r"cannot load .*found 2 inputs \(x, y\), expected one"):
        load_export(path)


PICTURE = np.full((4, 6, 3), 9, np.uint8)


@pytest.mark.parametrize(("save", "load"), KINDS)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_pictures_go_to_the_inputs_of_their_names(tmp_path, save, load, dtype):
    top = torch.zeros(1, 4, 6, 3, dtype=getattr(torch, dtype))
    backend = load(save(tmp_path, Seeing(), top, torch.zeros(1, 6)), pictures=["top"])
    for _ in range(3):
        backend.see({"top": PICTURE.astype(dtype)})
        assert backend.infer(OBSERVATION).tolist() == [[[9.0, 15.0]]]
    with pytest.raises(
        BackendError, match=r"cannot load .*the model has no input 'front' for a picture; found 'top'"
    ):
        load(save(tmp_path, Seeing(), top, torch.zeros(1, 6)), pictures=["front"])


@pytest.mark.parametrize(("save", "load"), KINDS)
def test_a_model_that_only_sees(tmp_path, save, load):
    path = save(tmp_path, OnlySeeing(), torch.zeros(1, 4, 6, 3, dtype=torch.uint8))
    backend = load(path, pictures=["top"])
    backend.see({"top": PICTURE})
    assert backend.infer(OBSERVATION[:0]).tolist() == [[[9.0, 9.0]]]
    with pytest.raises(WrongShape, match="no input for the 6 values of the observation, only for pictures"):
        backend.infer(OBSERVATION)


def test_an_exported_model_knows_what_pictures_it_takes(tmp_path):
    path = export(tmp_path, OnlySeeing(), torch.zeros(1, 4, 6, 3, dtype=torch.uint8))
    backend = load_export(path, pictures=["top"])
    with pytest.raises(
        BackendError, match=r"input 'top' is a torch\.uint8, but the picture is float32; set `dtype`"
    ):
        backend.see({"top": PICTURE.astype(np.float32)})
    with pytest.raises(WrongShape, match=r"shape \[1, 4, 6, 3\], but the picture has \[3, 4, 6\]"):
        backend.see({"top": PICTURE.transpose(2, 0, 1)})


def test_a_script_for_another_observation(tmp_path):
    with pytest.raises(
        BackendError, match=r"the model fails on an input of shape \[1, 5\]: .*cannot be multiplied"
    ):
        load_script(script(tmp_path, Chunk())).infer(OBSERVATION[:5])


def test_the_input_shape_of_a_script(tmp_path):
    path = str(tmp_path / "m.ts")
    torch.jit.save(torch.jit.trace(torch.nn.Flatten(), torch.zeros(1, 2, 3)), path)
    assert load_script(path, input_shape=[-1, 2, 3]).infer(OBSERVATION).shape == (1, 6)
    with pytest.raises(WrongShape, match=r"has shape \[1, 4\], but .* give 6 values"):
        load_script(path, input_shape=[1, 4]).infer(OBSERVATION)


@pytest.mark.parametrize("load", [load_script, load_export])
def test_a_file_that_is_no_model(tmp_path, load):
    (tmp_path / "m.pt2").write_bytes(b"not a model")
    with pytest.raises(BackendError, match=r"PyTorch .* cannot load .*m\.pt2: ."):
        load(str(tmp_path / "m.pt2"))
    with pytest.raises(BackendError, match=r"no model file at .*; expected the path of a "):
        load(str(tmp_path / "none.pt2"))


@pytest.mark.parametrize("load", [load_script, load_export])
def test_a_gpu_that_is_not_there(tmp_path, load):
    (tmp_path / "m.pt2").touch()
    with pytest.raises(BackendError, match=r"options\.device: found 'cuda:99', but PyTorch .* can use \d+ GPUs"):
        load(str(tmp_path / "m.pt2"), device="cuda:99")
    with pytest.raises(BackendError, match=r'options\.device: found "gpu", expected "cpu", "cuda" or "cuda:N"'):
        load(str(tmp_path / "m.pt2"), device="gpu")


@pytest.mark.parametrize(("save", "name"), [(script, "torchscript"), (export, "torch_export")])
async def test_in_the_worker(rig, tmp_path, save, name):
    path = save(tmp_path, Chunk())
    r = rig(backend=name, model=path, observation_size=6, horizon=3, action_size=2)
    await r.worker.start()
    chunk = await r.chunk(7.0)
    assert chunk.actions.tolist() == [[15.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(PolicyError, match=r"found output of shape \[1, 3, 2\], expected \[2, 3\]"):
        await rig(backend=name, model=path, observation_size=6, horizon=2, action_size=3).worker.start()
