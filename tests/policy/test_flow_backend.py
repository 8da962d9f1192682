"""Flow policies through the real ONNX Runtime, with fields that are known exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package onnx, which makes the test's models, is not installed")
ort = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from runtime.policy.errors import PolicyError  # noqa: E402
from runtime.policy.worker.errors import BackendError, WrongShape  # noqa: E402
from runtime.policy.worker.flow import FlowBackend  # noqa: E402
from runtime.policy.worker.rtc import guidance, weights  # noqa: E402
from runtime.policy.worker.wire import Can  # noqa: E402
from tests.policy.flow_models import HORIZON, MODE, SIZE, differences, some_feeds, write  # noqa: E402

ROOT = Path(__file__).parents[2]
MIDDLE = np.array([0.3, -0.2], np.float32)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write(tmp_path_factory.mktemp("flow") / "two_modes.onnx")


def load(path, **options):
    return FlowBackend(path, {"threads": 1, "horizon": HORIZON, "action_size": SIZE, **options})


def side(chunk):
    """+1 and -1 for the two things that the policy does, per action."""
    return np.einsum("...ij,ij->...i", chunk - MIDDLE, MODE) / np.einsum("ij,ij->i", MODE, MODE)


def reference(seed, plan, delay, steps=5, beta=5.0):
    """Algorithm 1 of the paper, in float64, on the field of `flow_models`."""
    mode, actions = (
        MODE.astype(np.float64),
        np.random.default_rng(seed).standard_normal((HORIZON, SIZE), np.float32),
    )
    actions, known = actions.astype(np.float64), len(plan)
    target = np.zeros((HORIZON, SIZE))
    target[:known] = plan
    for step in range(steps):
        tau = step / steps
        gain = tau / (1 - tau) ** 2
        t = np.tanh(gain * ((actions - tau * MIDDLE) * mode).sum())
        clean = MIDDLE + mode * t
        jacobian = gain * (1 - t**2) * np.outer(mode.ravel(), mode.ravel())
        error = weights(HORIZON, known, delay)[:, None] * (target - clean)
        g = (error.ravel() @ jacobian).reshape(HORIZON, SIZE)
        actions = actions + ((clean - actions) / (1 - tau) + guidance(tau, beta) * g) / steps
    return actions


def test_a_chunk_is_one_of_the_things_that_the_policy_knows(model):
    backend = load(model)
    sides = np.array([side(backend.infer(MIDDLE)[0]) for _ in range(200)])
    assert 0.3 < (sides[:, 0] > 0).mean() < 0.7, "both, each about as often"
    assert np.mean(np.abs(np.abs(sides) - 1) < 0.1) > 0.9


@pytest.mark.parametrize("options", [{}, {"steps": 3}, {"beta": 1.0}, {"seed": 7}])
def test_the_same_numbers_as_the_paper(model, options):
    plan = MIDDLE - MODE[2:]
    backend = load(model, **options)
    found = backend.continue_plan(MIDDLE, plan, 2)[0]
    rest = {key: value for key, value in options.items() if key != "seed"}
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference(options.get("seed", 0), plan, 2, **rest), atol=1e-4)
    plain = load(model, **options).infer(MIDDLE)[0]
    np.testing.assert_allclose(plain, reference(options.get("seed", 0), plan[:0], 0, **rest), atol=1e-4)


def test_the_same_seed_gives_the_same_chunks(model):
    one, same, other = load(model, seed=3), load(model, seed=3), load(model, seed=4)
    for _ in range(3):
        first = one.infer(MIDDLE)
        assert (first == same.infer(MIDDLE)).all()
        assert (first != other.infer(MIDDLE)).any()


@pytest.mark.parametrize("sign", [1, -1])
def test_a_plan_is_continued_on_its_own_side(model, sign):
    """Left alone, half of the chunks contradict the plan; continued, few do, and none is torn in two."""
    plan = MIDDLE + sign * MODE[:6]
    alone, continuing = load(model), load(model)
    free = np.array([alone.infer(MIDDLE)[0] for _ in range(200)])
    held = np.array([continuing.continue_plan(MIDDLE, plan, 3)[0] for _ in range(200)])
    before, after = np.abs(free[:, :6] - plan).mean(), np.abs(held[:, :6] - plan).mean()
    assert after < before / 4
    assert np.mean(side(free)[:, 6:] * sign > 0) < 0.6
    assert np.mean(side(held)[:, 6:] * sign > 0) > 0.85, "beyond what was known, too"


def test_what_runs_anyway_is_kept_best(tmp_path):
    """Where the policy has no opinion of its own, an action is as near to the plan as its weight asks."""
    backend = load(write(tmp_path / "any.onnx", "identity"))
    plan = np.full((6, SIZE), 2.0, np.float32)
    chunks = np.array([backend.continue_plan(MIDDLE, plan, 3)[0] for _ in range(50)])
    miss = np.abs(chunks - 2.0).mean(axis=(0, 2))
    assert miss[:3].max() < miss[3:6].min()
    assert (np.diff(miss[3:6]) > 0).all()


def test_the_identity_in_place_of_the_derivative_is_something_else(model, tmp_path):
    """It pulls over the known actions alone, and leaves the others where they are: a chunk nobody has learned."""
    plan = MIDDLE + MODE[: HORIZON // 2]
    right, wrong = load(model), load(write(tmp_path / "identity.onnx", "identity"))
    ours = np.array([right.continue_plan(MIDDLE, plan, 2)[0] for _ in range(100)])
    theirs = np.array([wrong.continue_plan(MIDDLE, plan, 2)[0] for _ in range(100)])
    assert np.abs(ours - theirs).max() > 0.3

    def torn(chunks):
        return np.mean(np.ptp(side(chunks), axis=1) > 0.5)

    assert torn(ours) < 0.05
    assert torn(theirs) > 0.1


@pytest.mark.parametrize("tau", [0.0, 0.2, 0.4, 0.6, 0.8])
def test_the_derivative_is_true(model, tau):
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    feeds = some_feeds(HORIZON, SIZE, MIDDLE, tau, np.random.default_rng(1))
    np.testing.assert_allclose(session.run(["vjp"], feeds)[0], differences(session, feeds, 1e-2), atol=2e-3)


def test_a_field_without_a_derivative_continues_nothing(tmp_path):
    backend = load(write(tmp_path / "plain.onnx", "none"))
    assert backend.continue_plan is None
    np.testing.assert_allclose(backend.infer(MIDDLE)[0], reference(0, np.empty((0, SIZE)), 0), atol=1e-4)


def test_models_that_do_not_fit(model):
    with pytest.raises(WrongShape, match=r"'actions' of the model has shape \[1, 8, 2\], expected \[1, 9, 2\]"):
        load(model, horizon=9)
    with pytest.raises(WrongShape, match="has 2 values, but the observation terms of the config give 3"):
        load(model).infer(np.zeros(3, np.float32))


@pytest.fixture
def seeing(tmp_path):
    """A field whose velocity is the mean of a picture, whatever else there is."""
    graph = (
        f"sees (float[1,{HORIZON},{SIZE}] actions, float[1] tau, float[1,{SIZE}] observation, uint8[1,4,6,3] top)"
        f" => (float[1,{HORIZON},{SIZE}] velocity)"
        " { floats = Cast <to = 1> (top) mean = ReduceMean <keepdims = 0> (floats)"
        " nothing = Sub (actions, actions) velocity = Add (nothing, mean) }"
    )
    path = tmp_path / "sees.onnx"
    onnx.save(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 18]> {graph}'), path)
    return str(path)


def test_a_field_that_sees(seeing):
    backend = load(seeing, pictures=["top"])
    noise = np.random.default_rng(0).standard_normal((2, HORIZON, SIZE), np.float32)
    for start, shade in zip(noise, (9, 0), strict=True):
        backend.see({"top": np.full((4, 6, 3), shade, np.uint8)})
        np.testing.assert_allclose(backend.infer(MIDDLE)[0], start + shade, rtol=1e-5)


def test_pictures_that_do_not_fit(seeing):
    with pytest.raises(BackendError, match=r"expected inputs actions, tau, observation and outputs velocity"):
        load(seeing)
    with pytest.raises(BackendError, match=r"no input 'front' for a picture; found .*'top'"):
        load(seeing, pictures=["front"])
    with pytest.raises(BackendError, match=r"'top' is a tensor\(uint8\), but the picture is float32"):
        load(seeing, pictures=["top"]).see({"top": np.zeros((4, 6, 3), np.float32)})


def test_a_model_of_another_kind():
    with pytest.raises(
        BackendError, match=r"found inputs observation and outputs actions, expected inputs actions"
    ):
        load(str(ROOT / "configs/demo/policy.onnx"), horizon=50, action_size=7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, r"options\.steps: found 0, expected 1 or more"),
        ({"steps": 2.5}, r"options\.steps: found 2\.5"),
        ({"seed": -1}, r"options\.seed: found -1, expected 0 or more"),
        ({"beta": -1.0}, r"options\.beta: found -1\.0, expected a number, 0 or more"),
        ({"beta": "much"}, r'options\.beta: found "much"'),
        ({"gpu": 1}, r"options\.gpu: found an unknown option, expected beta, device"),
        ({"providers": ["cuda"]}, r"was built without cuda"),
    ],
)
def test_wrong_options(model, options, message, monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(BackendError, match=message):
        load(model, **options)


async def test_in_the_worker(rig, model, tmp_path):
    sizes = {"observation_size": SIZE, "horizon": HORIZON, "action_size": SIZE}
    r = rig(backend="flow", model=model, **sizes)
    await r.worker.start()
    assert r.worker.can == Can.CONTINUE
    same = load(model)
    same.infer(np.zeros(SIZE, np.float32))  # the warm-up
    plan = MIDDLE - MODE[:4]
    r.worker.observation[:] = MIDDLE
    r.worker.plan[:4] = plan
    assert r.worker.request(r.now(), 4, 2)
    await r.until(lambda: not r.worker.busy, "a chunk")
    np.testing.assert_allclose(r.chunks[-1].actions, same.continue_plan(MIDDLE, plan, 2)[0], atol=1e-5)
    plain = rig(backend="flow", model=write(tmp_path / "plain.onnx", "none"), **sizes)
    await plain.worker.start()
    assert plain.worker.can == 0
    with pytest.raises(PolicyError, match=r"has 2 values, but the observation terms of the config give 5"):
        await rig(backend="flow", model=model, horizon=HORIZON, action_size=SIZE).worker.start()
