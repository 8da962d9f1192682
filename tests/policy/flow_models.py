"""Flow policies whose fields are known exactly, as ONNX files."""

import numpy as np
import onnx
import onnx.parser

from runtime.policy.worker.rtc import weights

HORIZON, SIZE = 8, 2
MODE = np.array([[0.7, -0.7]] * HORIZON, np.float32) * np.linspace(0.6, 1.4, HORIZON, dtype=np.float32)[:, None]
"""The policy does c + MODE or c - MODE, each half of the time, where c is its observation."""

_INPUTS = f"float[1,{HORIZON},{SIZE}] actions, float[1] tau, float[1,{SIZE}] observation"
_PLAN = f", float[1,{HORIZON},{SIZE}] plan, float[1,{HORIZON},1] weights"

# A_tau = tau x + (1 - tau) noise, so the mean of x given A_tau is
# c + MODE tanh(tau <A_tau - tau c, MODE> / (1 - tau)^2), and the velocity of flow matching points there.
_FIELD = """
    middle = Unsqueeze (observation, first)
    progress = Unsqueeze (tau, both)
    rest = Sub (one, progress)
    along = Mul (progress, middle)
    off = Sub (actions, along)
    parts = Mul (off, mode)
    likeness = ReduceSum (parts, both)
    square = Mul (rest, rest)
    gain = Div (progress, square)
    scaled = Mul (likeness, gain)
    side = Tanh (scaled)
    side_mode = Mul (side, mode)
    clean = Add (middle, side_mode)
    way = Sub (clean, actions)
    velocity = Div (way, rest)
"""
_ERROR = """
    step = Mul (rest, velocity)
    estimate = Add (actions, step)
    miss = Sub (plan, estimate)
    error = Mul (weights, miss)
"""
_VJP = """
    error_parts = Mul (error, mode)
    error_along = ReduceSum (error_parts, both)
    side_square = Mul (side, side)
    steepness = Sub (one, side_square)
    slope = Mul (steepness, gain)
    factor = Mul (error_along, slope)
    vjp = Mul (factor, mode)
"""


def write(path, derivative="true"):
    """Write the model to `path`. `derivative`: "true", "identity", or "none" for a field without one."""
    guided = derivative != "none"
    ending = {"true": _ERROR + _VJP, "identity": _ERROR + "    vjp = Identity (error)\n", "none": ""}[derivative]
    outputs = ", ".join(
        f"float[1,{HORIZON},{SIZE}] {name}" for name in (("velocity", "vjp") if guided else ("velocity",))
    )
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]>\n'
        f"two_modes ({_INPUTS}{_PLAN if guided else ''}) => ({outputs}) {{{_FIELD}{ending}}}"
    )
    constants = {
        "mode": MODE[None],
        "one": np.float32(1.0),
        "first": np.array([1], np.int64),
        "both": np.array([1, 2], np.int64),
    }
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return str(path)


def differences(session, feeds, step):
    """Gradient of -1/2 sum W (Y - A_hat)^2 with respect to A_tau, from the velocity alone."""

    def value(actions):
        velocity = session.run(["velocity"], {**feeds, "actions": actions})[0].astype(np.float64)
        estimate = actions + (1 - feeds["tau"].astype(np.float64)) * velocity
        return -0.5 * np.sum(feeds["weights"] * (feeds["plan"] - estimate) ** 2)

    gradient = np.empty(feeds["actions"].size)
    for place in range(gradient.size):
        around = [feeds["actions"].copy(), feeds["actions"].copy()]
        around[0].flat[place] += step
        around[1].flat[place] -= step
        width = float(around[0].flat[place]) - float(around[1].flat[place])
        gradient[place] = (value(around[0]) - value(around[1])) / width
    return gradient.reshape(feeds["actions"].shape)


def some_feeds(horizon, size, observation, tau, rng):
    shape = (1, horizon, size)
    return {
        "actions": rng.standard_normal(shape, np.float32),
        "tau": np.array([tau], np.float32),
        "observation": observation.reshape(1, -1),
        "plan": rng.standard_normal(shape, np.float32),
        "weights": weights(horizon, horizon * 3 // 4, horizon // 4).reshape(1, -1, 1),
    }
