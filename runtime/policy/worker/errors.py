"""What a backend can refuse, and how any error is put into words for the daemon.

Runs in the worker's interpreter: Python 3.9, standard library only.
"""

from __future__ import annotations

import os
import traceback


class BackendError(Exception):
    """A backend cannot be had or used; the text is meant for a person."""


class Unavailable(BackendError):
    """There is no answer this time, and nothing is wrong with the worker: a server is away, or too slow."""


class WrongShape(BackendError):
    """Model and config disagree on the size of the observation or of the chunk."""


def words(error: Exception) -> str:
    """The error in one line: our own texts as they are, foreign ones with their kind and place."""
    if isinstance(error, BackendError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
