"""The error of exports."""


class ExportError(Exception):
    """Nothing was exported, or not all: what was found, what was expected, what to do."""
