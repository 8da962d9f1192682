"""How a child is started in an interpreter that need not be the daemon's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HOUSE = Path(__file__).parent.parent

# Only our own folder is put before the other interpreter, as a package without its `__init__`: with our
# site-packages on its path it would import numpy and others that were built for this interpreter.
_BOOT = """\
import sys
if sys.version_info < (3, 9):
    sys.exit("%s is Python %d.%d; its process needs 3.9 or newer" % (sys.argv[4], *sys.version_info[:2]))
sys.path[:] = [folder for folder in sys.path if folder]
import importlib, types
runtime = sys.modules["runtime"] = types.ModuleType("runtime")
runtime.__path__ = [sys.argv[1]]
importlib.import_module(sys.argv[2]).main(sys.argv[3])
"""


def arguments(python: str, key: str, module: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The command line of `main(settings as JSON)` of a module of the house, in the interpreter `python`.

    `key`: where the config names it.
    """
    # Dates are all that TOML knows and JSON does not.
    return (python, "-c", _BOOT, str(_HOUSE), module, json.dumps(settings, default=str), key)
