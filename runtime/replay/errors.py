"""The error of replays."""


class ReplayError(Exception):
    """A recording that cannot be replayed: what was found, what was expected, what to do."""
