"""The policy's network, its training by behaviour cloning, and its export to ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from configs.demo import expert
from configs.demo.expert import HORIZON, OBSERVATION
from runtime.policy import export

BATCH = 256
SMOOTH = 0.4  # what a step of 1 rad in a goal's speed costs: servos follow smooth goals better
WIDTH, HEADS, TOKENS, GROUP = 64, 4, 4, 10
QUERIES = HORIZON // GROUP


class Features(nn.Module):
    """Fixed geometry in front of the network: where plan and hand are, and where the cube is from there."""

    near: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("near", torch.tensor([0.08] * 6 + [0.2]))
        self.register_buffer("mean", torch.zeros(OBSERVATION + 7 + 6))
        self.register_buffer("scale", torch.ones(OBSERVATION + 7 + 6))

    def forward(self, o: Tensor) -> tuple[Tensor, Tensor]:
        """Observation (N, 28) -> features (N, 41) and the goal that the plan starts from (N, 7)."""
        position, velocity, last = o[:, :7], o[:, 7:14], o[:, 14:21]
        expected = position + expert.LAG * velocity
        # No last action (all zeros) at the start: the robot stands where it is.
        known = (last.abs().sum(1, keepdim=True) > 1e-5).to(o.dtype)
        off = (last - expected) * known
        base = expected + torch.maximum(torch.minimum(off, self.near), -self.near)
        s, f = base[:, 1:2], base[:, 1:2] + base[:, 2:3]
        h = f + base[:, 4:5]
        r = expert.UPPER * torch.sin(s) + expert.FORE * torch.cos(f) + expert.HAND * torch.cos(h)
        z = expert.UPPER * torch.cos(s) - expert.FORE * torch.sin(f) - expert.HAND * torch.sin(h)
        hand = torch.cat((r * torch.cos(base[:, :1]), r * torch.sin(base[:, :1]), z + expert.SHOULDER_Z), 1)
        cube = o[:, 21:24] + expert.LEAD * o[:, 24:27]
        gap = (cube - hand) * o[:, 27:28]
        # Millimetres decide while the hand is near: a feature that saturates far away resolves them.
        fine = torch.tanh(gap * 50.0)
        features = torch.cat((position, velocity, off, o[:, 21:], base, hand, fine), 1)
        return features, base


class Chunker(nn.Module):
    """Four tokens of the state, and a transformer decoder whose five learned queries give ten actions each."""

    step_scale: Tensor
    step_mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()
        count = self.features.mean.numel()
        self.embed = nn.Sequential(
            nn.Linear(count, 512), nn.GELU(), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, TOKENS * WIDTH)
        )
        self.decoder = nn.TransformerDecoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.queries = nn.Parameter(torch.randn(1, QUERIES, WIDTH) * 0.1)
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, GROUP * 7))
        self.register_buffer("step_mean", torch.zeros(HORIZON, 7))
        self.register_buffer("step_scale", torch.ones(HORIZON, 7))

    def raw(self, o: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised changes (N, 50, 7) and the goal that they are counted from (N, 7)."""
        features, base = self.features(o)
        x = (features - self.features.mean) / self.features.scale
        memory = self.embed(x.clamp(-8.0, 8.0)).reshape(-1, TOKENS, WIDTH)
        # The whole state starts every query; the learned part tells which fifth of the second it is.
        start = self.queries + memory.mean(1, keepdim=True)
        return self.head(self.decoder(start, memory)).reshape(-1, HORIZON, 7), base

    def forward(self, observation: Tensor) -> Tensor:
        """Joint goals, rad, (N, 50, 7) for observations (N, 28)."""
        change, base = self.raw(observation)
        return base[:, None] + change * self.step_scale + self.step_mean


class Cloner:
    """Keeps one network, its running average and its optimiser while the data grow."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        self._net = Chunker()
        self._average = Chunker()
        self._optimiser = torch.optim.AdamW(self._net.parameters(), 1e-3, weight_decay=1e-4)
        self._rng = np.random.default_rng(seed)
        self._count = 0

    def fit(self, inputs: np.ndarray, targets: np.ndarray, steps: int, rates: tuple[float, float]) -> None:
        """L1 on normalised chunks, the learning rate going from one value to another."""
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
            for group in self._optimiser.param_groups:
                rate = rates[0] + (rates[1] - rates[0]) * step / steps
                group["lr"] = rate * min(1.0, (self._count + 1) / 200)
            pick = torch.from_numpy(self._rng.integers(0, len(x), BATCH))
            change, base = net.raw(x[pick])
            wanted = (y[pick] - base[:, None] - net.step_mean) / net.step_scale
            miss = (change - wanted) * net.step_scale
            rough = (miss[:, 2:] - 2.0 * miss[:, 1:-1] + miss[:, :-2]).abs().mean()
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
        with torch.no_grad():
            some = torch.from_numpy(self._rng.integers(0, len(x), 2000))
            error = 1e3 * (self._average(x[some]) - y[some]).abs()[:, 10:25].mean((0, 1))
        loss = float(np.mean(losses[-100:]))
        print(f"    {self._count} steps, loss {loss:.4f}, mrad {error.numpy().round(1)}", flush=True)

    def _normalise(self, x: Tensor, y: Tensor) -> None:
        with torch.no_grad():
            features, base = self._net.features(x)
            self._net.features.mean.copy_(features.mean(0))
            self._net.features.scale.copy_(features.std(0).clamp_min(0.02))
            change = y - base[:, None]
            self._net.step_mean.copy_(change.mean(0))
            self._net.step_scale.copy_(change.std(0).clamp_min(0.02))

    def export(self, path: Path) -> None:
        """Write the averaged network: observation [1, 28] -> actions [1, 50, 7], float32."""
        self._average.eval()
        export.write(self._average, (torch.zeros(1, OBSERVATION),), path, ["observation"], ["actions"])
        self._average.train()
