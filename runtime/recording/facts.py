"""What every segment says of itself: enough to know later what was recorded, without the robot."""

from __future__ import annotations

import hashlib
import json
import platform
from typing import Any

from runtime import version
from runtime.config.config import Config

_CALIBRATION = ("name", "bus", "id", "sign", "offset", "reduction")
"""Keys of a joint that make an angle of what its motor says."""


def facts(config: Config) -> dict[str, str]:
    """The metadata record `reflexd`, but for the hashes of models, which take a while to compute."""
    text = config.path.read_text()
    return {
        "robot": config.robot.name,
        "config": text,
        "config_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "calibration": _calibration(config),
        "reflexd": version(),
        "python": platform.python_version(),
        "kernel": platform.release(),
    }


def _calibration(config: Config) -> str:
    """SHA-256 of what belongs to the joints' calibration."""
    joints: list[dict[str, Any]] = [joint.model_dump(include=set(_CALIBRATION)) for joint in config.joints]
    return hashlib.sha256(json.dumps(joints, sort_keys=True).encode()).hexdigest()
