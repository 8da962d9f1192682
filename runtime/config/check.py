"""What a person wants to know of a config: the buses' arithmetic, and what to think about."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.config.config import Config
from runtime.config.rules import highest_rate

HEADER = ("bus", "driver", "joints", "cycle", "load", "highest rate")


def summary(config: Config) -> str:
    """The checked config in a few lines: what it is, one line for each bus, the warnings."""
    rate = config.control.rate
    policy = config.policy
    rows = [
        (
            plan.options.name,
            plan.options.type,
            str(len(plan.joints)),
            f"{plan.cycle.seconds * 1e3:.3g} ms",
            f"{plan.cycle.seconds * rate:.0%}",
            f"{highest_rate(plan.cycle):g} Hz",
        )
        for plan in config.buses
    ]
    head = f"{config.robot.name}: {len(config.joints)} joints at {rate:g} Hz"
    if policy:
        head += f", policy at {policy.rate:g} Hz in chunks of {policy.horizon}"
    lines = [head, *_table(HEADER, rows), *(f"warning: {warning}" for warning in config.warnings)]
    return "\n".join([*lines, f"{config.path}: good"])


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    # The first two columns are names, the others numbers.
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    ]
