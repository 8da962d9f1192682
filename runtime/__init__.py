"""The daemon: it turns a learned policy into safe motion, on time."""

from functools import cache


@cache
def version() -> str:
    """Version of the installed distribution; read from disk once."""
    from importlib.metadata import version as installed  # only here: importing it costs 30 ms

    return installed("reflexd")
