"""Runs in LeRobot's environment: writes a small ACT policy into a folder, and what it answers.

    python make_policy.py FOLDER

`FOLDER/cases.json`: a list of {"state", "picture", "chunk"}.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies import make_pre_post_processors
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy

HORIZON, SIZE, PIXELS = 8, 3, 32

torch.manual_seed(7)
folder = Path(sys.argv[1])
state, picture, action = "observation.state", "observation.images.front", "action"
config = ACTConfig(
    input_features={
        state: PolicyFeature(type=FeatureType.STATE, shape=(SIZE,)),
        picture: PolicyFeature(type=FeatureType.VISUAL, shape=(3, PIXELS, PIXELS)),
    },
    output_features={action: PolicyFeature(type=FeatureType.ACTION, shape=(SIZE,))},
    device="cpu",
    chunk_size=HORIZON,
    n_action_steps=HORIZON,
    dim_model=16,
    n_heads=2,
    dim_feedforward=16,
    n_encoder_layers=1,
    use_vae=False,
    pretrained_backbone_weights=None,
)
policy = ACTPolicy(config).eval()
stats = {name: {"mean": torch.full((SIZE,), 0.5), "std": torch.full((SIZE,), 2.0)} for name in (state, action)}
stats[picture] = {"mean": torch.zeros(3, 1, 1), "std": torch.ones(3, 1, 1)}
before, after = make_pre_post_processors(config, dataset_stats=stats)
for each in (policy, before, after):
    each.save_pretrained(folder)

cases = []
for case in range(3):
    values = torch.linspace(-1, 1, SIZE) + case
    pixels = torch.randint(0, 256, (PIXELS, PIXELS, 3), dtype=torch.uint8)
    batch = {state: values[None], picture: pixels.permute(2, 0, 1)[None].float() / 255}
    with torch.inference_mode():
        chunk = policy.predict_action_chunk(before(batch))[0]
        chunk = torch.stack([after(row[None])[0] for row in chunk])
    assert chunk.shape == (HORIZON, SIZE)
    cases.append({"state": values.tolist(), "picture": pixels.tolist(), "chunk": chunk.tolist()})
(folder / "cases.json").write_text(json.dumps(cases))
