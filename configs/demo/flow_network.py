"""The network of the demo's flow policy, and its training by flow matching."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from configs.demo.expert import HORIZON, OBSERVATION
from configs.demo.flow import FORGET, OFFSET, SCALE
from configs.demo.network import GROUP, HEADS, QUERIES, SMOOTH, TOKENS, WIDTH, Features
from runtime.policy import export

HIDDEN = 384
BATCH = 128


class Field(nn.Module):
    """The demo's chunker with the noisy chunk and tau beside the state. It works out the clean chunk.

    v = (A_hat - A) / (1 - tau) then: the last of the steps ends exactly at A_hat, so that no noise is left.
    """

    step_scale: Tensor
    step_mean: Tensor
    offset: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()
        count = self.features.mean.numel()
        self.embed = nn.Sequential(
            nn.Linear(count, HIDDEN),
            nn.GELU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.GELU(),
            nn.Linear(HIDDEN, TOKENS * WIDTH),
        )
        self.noisy = nn.Linear(GROUP * 7, WIDTH)
        self.time = nn.Sequential(nn.Linear(1, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH))
        self.decoder = nn.TransformerDecoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.queries = nn.Parameter(torch.randn(1, QUERIES, WIDTH) * 0.1)
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, GROUP * 7))
        self.register_buffer("step_mean", torch.zeros(HORIZON, 7))
        self.register_buffer("step_scale", torch.ones(HORIZON, 7))
        self.register_buffer("offset", torch.tensor(OFFSET, dtype=torch.float32))
        self.register_buffer("scale", torch.tensor(SCALE, dtype=torch.float32))

    def state(self, o: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N, 41) of observations (N, 28), and the goal (N, 7) that a plan starts from, rad."""
        last = o[:, 14:21]
        known = (last.abs().sum(1, keepdim=True) > 1e-5).to(o.dtype)
        features, base = self.features(
            torch.cat((o[:, :14], (last * self.scale + self.offset) * known, o[:, 21:]), 1)
        )
        return features, base

    def clean(self, actions: Tensor, tau: Tensor, o: Tensor) -> tuple[Tensor, Tensor]:
        """The chunk without its noise: normalised changes (N, 50, 7), and the goal that they are counted from."""
        features, base = self.state(o)
        x = (features - self.features.mean) / self.features.scale
        memory = self.embed(x.clamp(-8.0, 8.0)).reshape(-1, TOKENS, WIDTH)
        noisy = actions - (tau[:, None] * (base - self.offset) / self.scale)[:, None]
        start = self.queries + memory.mean(1, keepdim=True) + self.time(tau[:, None])[:, None]
        start = start + self.noisy(noisy.reshape(-1, QUERIES, GROUP * 7))
        return self.head(self.decoder(start, memory)).reshape(-1, HORIZON, 7), base

    def forward(self, actions: Tensor, tau: Tensor, observation: Tensor) -> Tensor:
        """Velocity (N, 50, 7) for noisy chunks (N, 50, 7), tau (N,) and observations (N, 28)."""
        change, base = self.clean(actions, tau, observation)
        goals = base[:, None] + change * self.step_scale + self.step_mean
        return ((goals - self.offset) / self.scale - actions) / (1.0 - tau)[:, None, None]


class Matcher:
    """Keeps one network, its running average and its optimiser while the data grow."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self._net, self._average = Field(), Field()
        self._optimiser = torch.optim.AdamW(self._net.parameters(), 1e-3, weight_decay=1e-4)
        self._rng = np.random.default_rng(seed)
        self._count = 0

    def fit(self, inputs: np.ndarray, targets: np.ndarray, steps: int, rates: tuple[float, float]) -> None:
        """Take `steps` of descent. `inputs` (N, 28), `targets` (N, 50, 7) in rad; the learning rate goes from one
        value to another."""
        x, y = torch.from_numpy(inputs), torch.from_numpy(targets)
        net = self._net
        if self._count == 0:
            self._normalise(x, y)
            self._average.load_state_dict(net.state_dict())
        averages, values = list(self._average.parameters()), list(net.parameters())
        # The robot follows a chunk for at most half a second: that half counts most.
        weight = torch.ones(HORIZON, 1)
        weight[30:] = 0.4
        losses = []
        for step in range(steps):
            rate = rates[0] + (rates[1] - rates[0]) * step / steps
            for group in self._optimiser.param_groups:
                group["lr"] = rate * min(1.0, (self._count + 1) / 200)
            pick = torch.from_numpy(self._rng.integers(0, len(x), BATCH))
            o, goals = x[pick], y[pick]
            o[: int(FORGET * BATCH), 14:21] = 0.0
            tau = 0.9 * torch.rand(BATCH)
            noise = torch.randn(BATCH, HORIZON, 7)
            mix = tau[:, None, None]
            actions = mix * (goals - net.offset) / net.scale + (1.0 - mix) * noise
            change, base = net.clean(actions, tau, o)
            wanted = (goals - base[:, None] - net.step_mean) / net.step_scale
            miss = (change - wanted) * net.step_scale
            rough = (miss[:, 2:] - 2.0 * miss[:, 1:-1] + miss[:, :-2]).abs().mean()
            # Flow matching asks for the mean, by squares; L1 finds the median. Where the expert has one answer, it
            # is both, and L1 finds it more exactly.
            loss = (miss.abs() * weight / net.step_scale).mean() + SMOOTH * rough
            self._optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(values, 1.0)
            self._optimiser.step()
            losses.append(float(loss.detach()))
            self._count += 1
            if self._count % 5 == 0:
                with torch.no_grad():
                    torch._foreach_lerp_(averages, values, max(0.02, 1 / (1 + self._count / 50)))
        print(f"    {self._count} steps, loss {float(np.mean(losses[-100:])):.4f}", flush=True)

    def _normalise(self, x: Tensor, y: Tensor) -> None:
        with torch.no_grad():
            features, base = self._net.state(x)
            self._net.features.mean.copy_(features.mean(0))
            self._net.features.scale.copy_(features.std(0).clamp_min(0.02))
            change = y - base[:, None]
            self._net.step_mean.copy_(change.mean(0))
            self._net.step_scale.copy_(change.std(0).clamp_min(0.02))

    def export(self, path: Path) -> None:
        """Write the averaged network."""
        export.flow(self._average, path, HORIZON, 7, OBSERVATION)
