"""What a sign-off is about: the config, the calibration and the model, each part as a SHA-256 of its own.

A joint's entry is its calibration (sign, offset, reduction) and its limits. Keys that `reload` may change do not
count, since they change while the robot runs; nor do paths: after an upgrade the same files may lie elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from runtime.config.config import Config
from runtime.reload import CHANGEABLE, flat

_COUNTS = re.compile(r"(control|safety|degraded|policy|bus|joint|sensor|cameras)\b")
_PLACES = re.compile(r"policy\.(fallback\.)?(model|python|sha256)|cameras\.\w+\.(python|file)")
_ENTRIES = re.compile(r"(?:bus|joint|sensor|cameras)\.\w+|\w+")
"""The part that a key belongs to: `joint.elbow` of `joint.elbow.kp`, `control` of `control.rate`."""


def parts(config: Config, models: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of each part, by its name. `models`: those of the policies' models that are files, likewise."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for key, value in flat(config).items():
        part = _ENTRIES.match(key)
        if part and _COUNTS.match(key) and not CHANGEABLE.fullmatch(key) and not _PLACES.match(key):
            found[part[0]][key] = value
    return {**{part: _sha256(keys) for part, keys in found.items()}, **models}


def _sha256(keys: dict[str, Any]) -> str:
    text = json.dumps(keys, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
