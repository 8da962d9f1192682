"""Loads a data set with LeRobot's own class and PyTorch's loader, tells what is in it. Argument: its folder."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

folder = sys.argv[1]
fps = json.loads(Path(folder, "meta/info.json").read_text())["fps"]
options = {"root": folder, "video_backend": "pyav", "delta_timestamps": {"action": [0.0, 1 / fps]}}
dataset = LeRobotDataset("nobody/export", **options)
items = [dataset[number] for number in range(len(dataset))]
loader = torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True)
good = LeRobotDataset("nobody/export", episode_filter=lambda row: row["outcome"] == "success", **options)
images = {key: [round(float(item[key].mean()) * 255, 1) for item in items] for key in dataset.meta.video_keys}
print(
    json.dumps(
        {
            "version": dataset.meta.info.codebase_version,
            "robot": dataset.meta.robot_type,
            "fps": dataset.fps,
            "episodes": dataset.num_episodes,
            "lengths": [row["length"] for row in dataset.meta.episodes],
            "names": dataset.meta.names["observation.state"],
            "state": [item["observation.state"].tolist() for item in items],
            "action": [item["action"].tolist() for item in items],
            "timestamp": [float(item["timestamp"]) for item in items],
            "mono_ns": [int(item["mono_ns"]) for item in items],
            "outcome": [item["outcome"] for item in items],
            "intervention": [int(item["intervention"]) for item in items],
            "task": [item["task"] for item in items],
            "images": images,
            "shapes": {key: list(items[0][key].shape) for key in dataset.meta.video_keys},
            "stats": {key: value["mean"].tolist() for key, value in dataset.meta.stats.items()},
            "batches": sum(len(batch["index"]) for batch in loader),
            "good": len(good),
        }
    )
)
