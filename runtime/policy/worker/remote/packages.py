"""Packages that only some backends need, imported when one is built.

Runs in the worker's interpreter: Python 3.9, standard library only.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from runtime.policy.worker.errors import BackendError


def need(backend: str, module: str, package: str) -> Any:
    """The module called `module`. Raises BackendError that names the `package` it comes with."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendError(
            f"backend {backend}: {sys.executable} cannot import {module} ({error}); install {package} there (for "
            "reflexd's own interpreter: the extra reflexd[remote]) or name another interpreter in policy.python"
        ) from error
