"""Flow policies: a velocity field carries noise to a chunk of actions, in a few steps; with real-time chunking.

The model is one ONNX file, which `runtime.policy.export` writes from a torch module. All values are float32:

    input   actions      (1, H, A)  A_tau, on its way from noise (tau = 0) to actions (tau = 1)
    input   tau          (1,)
    input   observation  (1, N)
    output  velocity     (1, H, A)  v(A_tau, tau, observation)

One that can continue a plan has three more:

    input   plan         (1, H, A)  Y
    input   weights      (1, H, 1)  W
    output  vjp          (1, H, A)  (W (Y - A_hat))^T dA_hat/dA_tau, where A_hat = A_tau + (1 - tau) v(A_tau, ...)

One that sees has an input more for each picture, uint8 or float32, by the picture's name.

The derivative goes through v. An identity in its place would pull the chunk off what the policy has learned.
Runs in the worker's interpreter: Python 3.9, numpy, the standard library and onnxruntime.
"""

from __future__ import annotations

from typing import Any, Callable, ClassVar, Mapping, Optional

import numpy as np

from runtime.policy.worker.backends import COUNT, Rule, check_options
from runtime.policy.worker.errors import BackendError, WrongShape
from runtime.policy.worker.rtc import Array, guidance, weights
from runtime.policy.worker.session import OPTIONS, open_session, sight


class FlowBackend:
    """Euler steps along the velocity field. The same seed and the same calls give the same chunks.

    Options: `steps` (5), `beta` (5.0, the most that guidance counts), `seed` of the noise (0), and of `session`.
    """

    MODEL = "an ONNX file"
    OPTIONS: ClassVar = {
        "steps": Rule("1 or more", lambda value: type(value) is int and value >= 1),
        "beta": Rule("a number, 0 or more", lambda value: type(value) in (int, float) and 0 <= value < np.inf),
        "seed": COUNT,
        **OPTIONS,
    }

    def __init__(self, model: str, options: dict[str, Any]) -> None:
        """Raises BackendError, or WrongShape when the model's chunk is not the config's."""
        check_options("flow", options, **self.OPTIONS)
        self._steps = int(options.get("steps", 5))
        self._beta = float(options.get("beta", 5.0))
        self._rng = np.random.default_rng(int(options.get("seed", 0)))
        self._session = open_session(model, options)
        self._shape = (1, int(options["horizon"]), int(options["action_size"]))
        outputs = {found.name: found for found in self._session.get_outputs()}
        guided = "vjp" in outputs
        self._outputs = ["velocity", "vjp"] if guided else ["velocity"]
        self.continue_plan: Optional[Callable[[Array, Array, int], Array]]
        self.continue_plan = self._denoise if guided else None
        """As in `Backend`; None where the model has no `vjp`."""
        inputs = {found.name: found for found in self._session.get_inputs()}
        expected: dict[str, tuple[Optional[int], ...]]
        expected = {"actions": self._shape, "tau": (1,), "observation": (1, None)}
        if guided:
            expected.update(plan=self._shape, weights=(1, self._shape[1], 1))
        self._sight = sight(self._session, options)
        names = [*expected, *options.get("pictures", ())]
        if set(inputs) != set(names) or "velocity" not in outputs:
            raise BackendError(
                f"{model}: found inputs {', '.join(inputs)} and outputs {', '.join(outputs)}, expected inputs "
                f"{', '.join(names)} and outputs {', '.join(self._outputs)}; see docs/flow.md"
            )
        for name, shape in expected.items():
            _check(name, inputs[name], shape)
        for name in self._outputs:
            _check(name, outputs[name], self._shape)
        self._size = inputs["observation"].shape[1]

    def see(self, pictures: Mapping[str, Array]) -> None:
        """As in `Backend`. Raises BackendError or WrongShape when a picture does not fit its input."""
        self._sight.see(pictures)

    def infer(self, observation: Array) -> Array:
        """A chunk, float32, shape (1, H, A). Raises WrongShape when the observation does not fit the model."""
        return self._denoise(observation, np.empty((0, self._shape[2]), np.float32), 0)

    def _denoise(self, observation: Array, plan: Array, delay: int) -> Array:
        """Algorithm 1 of arXiv 2506.07339. Without a plan the guidance is zero, and plain Euler steps remain."""
        if observation.size != self._size:
            raise WrongShape(
                f"input 'observation' of the model has {self._size} values, but the observation terms of the "
                f"config give {observation.size}; both must agree"
            )
        feeds: dict[str, Array] = {"observation": observation.reshape(1, -1), **self._sight.shown}
        if self.continue_plan:
            feeds["plan"] = np.zeros(self._shape, np.float32)
            feeds["plan"][0, : len(plan)] = plan
            feeds["weights"] = weights(self._shape[1], len(plan), delay).reshape(1, -1, 1)
        actions: Array = self._rng.standard_normal(self._shape, np.float32)
        for step in range(self._steps):
            tau = step / self._steps
            feeds.update(actions=actions, tau=np.array([tau], np.float32))
            velocity, *vjp = self._session.run(self._outputs, feeds)
            for correction in vjp:
                velocity = velocity + np.float32(guidance(tau, self._beta)) * correction
            actions = actions + velocity / np.float32(self._steps)
        return actions


def _check(name: str, found: Any, expected: tuple[Optional[int], ...]) -> None:
    """`found`: an input or output of the model; None: any number. Raises BackendError, or WrongShape."""
    if found.type != "tensor(float)":
        raise BackendError(
            f"{name!r} of the model is a {found.type}, expected tensor(float); export it as float32"
        )
    shape = list(found.shape)
    if len(shape) == len(expected):
        fits = [isinstance(shape[i], int) and expected[i] in (None, shape[i]) for i in range(len(shape))]
        if all(fits):
            return
    wanted = ", ".join("N" if size is None else str(size) for size in expected)
    raise WrongShape(
        f"{name!r} of the model has shape {shape}, expected [{wanted}] in numbers; compare the horizon and the "
        "action terms of the config with the model"
    )
