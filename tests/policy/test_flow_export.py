"""The export of a torch module, read by the backend."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch (extra `train`) is not installed")
pytest.importorskip("onnxscript", reason="onnxscript (extra `train`) is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from runtime.policy import export  # noqa: E402
from runtime.policy.worker.flow import FlowBackend  # noqa: E402

HORIZON, SIZE, OBSERVATION = 6, 3, 4


class Field(torch.nn.Module):
    """Attention over the chunk, with the kinds of layers that policies have."""

    def __init__(self):
        super().__init__()
        self.inside = torch.nn.Linear(SIZE + OBSERVATION + 1, 16)
        self.mix = torch.nn.TransformerEncoderLayer(16, 2, 32, 0.1, "gelu", batch_first=True, norm_first=True)
        self.outside = torch.nn.Sequential(torch.nn.SiLU(), torch.nn.Linear(16, SIZE))

    def forward(self, actions, tau, observation):
        state = torch.cat((observation, tau[:, None]), 1)[:, None].expand(-1, HORIZON, -1)
        return self.outside(self.mix(self.inside(torch.cat((actions, state), 2))))


@pytest.fixture(scope="module")
def field():
    torch.manual_seed(1)
    return Field()


def test_the_file_says_what_the_module_says(tmp_path, field):
    path = tmp_path / "flow.onnx"
    export.flow(field, path, HORIZON, SIZE, OBSERVATION)
    assert field.training, "as it was"
    field.eval()
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    actions, plan = torch.randn(2, 1, HORIZON, SIZE)
    observation, weights = torch.randn(1, OBSERVATION), torch.rand(1, HORIZON, 1)
    for tau in (0.0, 0.4, 0.8):
        noisy = actions.clone().requires_grad_()
        velocity = field(noisy, torch.tensor([tau]), observation)
        estimate = noisy + (1 - tau) * velocity
        error = (weights * (plan - estimate)).detach()
        (vjp,) = torch.autograd.grad(estimate, noisy, error)
        feeds = {
            "actions": actions.numpy(),
            "tau": np.array([tau], np.float32),
            "observation": observation.numpy(),
            "plan": plan.numpy(),
            "weights": weights.numpy(),
        }
        found = session.run(["velocity", "vjp"], feeds)
        np.testing.assert_allclose(found[0], velocity.detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(found[1], vjp.numpy(), atol=1e-5)
        assert np.abs(found[1] - error.numpy()).max() > 0.01, "an identity would pass otherwise"


@pytest.mark.parametrize("guided", [True, False])
def test_the_backend_runs_it(tmp_path, field, guided):
    export.flow(field, tmp_path / "flow.onnx", HORIZON, SIZE, OBSERVATION, guided=guided)
    backend = FlowBackend(str(tmp_path / "flow.onnx"), {"threads": 1, "horizon": HORIZON, "action_size": SIZE})
    assert np.isfinite(backend.infer(np.zeros(OBSERVATION, np.float32))).all()
    assert (backend.continue_plan is not None) == guided
    assert not (tmp_path / "flow.onnx.data").exists()
    assert str(tmp_path).encode() not in (tmp_path / "flow.onnx").read_bytes()
