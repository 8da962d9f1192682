"""The options of `reflexctl export`. Apart from what it does, so that other commands start quickly."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

NEEDS = {"lerobot": ("pyarrow", "av", "mcap_ros2"), "parquet": ("pyarrow",), "mcap": ()}
"""The formats, each with the packages of the extra `export` that it needs."""


def moment(text: str) -> int:
    """A time of day and date as ns since the epoch; without a zone it is UTC. Raises ArgumentTypeError."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'found "{text}", expected a time such as 2026-11-20T14:39:13Z') from None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return round(when.timestamp() * 1e6) * 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument(
        "segments",
        nargs="+",
        metavar="SEGMENT",
        help="a file, a folder (of segments, or a spool), or a name",
    )
    parser.add_argument("--format", choices=list(NEEDS), required=True, help="what is written: docs/export.md")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    add_spool_argument(parser, "where names are looked up")
    parser.add_argument("--episode", metavar="ID", help="only this episode")
    parser.add_argument("--all", action="store_true", help="also episodes with a bad verdict, and discarded ones")
    parser.add_argument(
        "--fps", type=_fps, metavar="N", help="lerobot: frames a second (default: the policy's rate)"
    )
    for name, default, help in (
        ("from", 0, "only from this time on (UTC); lerobot: only episodes that begin then or later"),
        ("to", 2**63 - 1, "only up to this time (UTC); lerobot: only episodes that begin by then"),
    ):
        parser.add_argument(
            f"--{name}", dest=f"{name}_ns", type=moment, default=default, metavar="TIME", help=help
        )


def add_spool_argument(parser: argparse.ArgumentParser, help: str) -> None:
    """The option that names the folder of the recordings."""
    parser.add_argument("--spool", type=Path, metavar="DIR", help=f"{help} (default: {{state}}/recordings)")


def _fps(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1000:
        raise argparse.ArgumentTypeError(f'found "{text}", expected a whole number from 1 to 1000')
    return int(text)
