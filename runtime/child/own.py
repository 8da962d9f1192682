"""How a process of our own is started, in the daemon's interpreter."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HOUSE = Path(__file__).parent.parent.parent
# Not `-m`: that would find another `runtime` in the folder where the daemon was started.
_BOOT = """\
import sys
sys.path[0] = sys.argv[1]
import importlib
importlib.import_module(sys.argv[2]).main(sys.argv[3])
"""


def arguments(module: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The command line of `main(settings as JSON)` of a module."""
    return (sys.executable, "-c", _BOOT, str(_HOUSE), module, json.dumps(dict(settings)))
