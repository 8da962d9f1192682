"""`--set KEY=VALUE`: values that win over the config."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Sequence
from typing import Any


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """`["policy.latency=0.1"]` as `{"policy.latency": 0.1}`; exits with code 2 on anything else."""
    result: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        try:
            if not equals:
                raise ValueError("expected KEY=VALUE")
            result[key.strip()] = tomllib.loads(f"value = {text}")["value"]
        except ValueError as error:
            print(f"--set {pair}: {error}; strings need quotes: --set 'key=\"text\"'", file=sys.stderr)
            raise SystemExit(2) from None
    return result
