"""Looks at the disk of a machine that has lost its power, without booting it."""

from __future__ import annotations

import subprocess
from pathlib import Path

STATE = Path("/var/lib/reflexd/rig")
"""The folder of the robot's data."""


def raw(disk: Path, target: Path) -> None:
    """Write the content of a disk into a raw file."""
    subprocess.run(
        ["qemu-img", "convert", "-W", "-T", "unsafe", "-t", "unsafe", "-O", "raw", disk, target],
        check=True,
        capture_output=True,
    )


def state(disk: Path, folder: Path) -> Path:
    """The robot's data on a raw root disk, copied into `folder`, after the journal's replay, as at the next boot.

    Raises OSError when the file system is damaged.
    """
    repaired = subprocess.run(["e2fsck", "-fp", disk], capture_output=True, text=True, check=False)
    if repaired.returncode > 1:
        raise OSError(f"e2fsck: {repaired.stdout}")
    subprocess.run(["debugfs", "-R", f"rdump {STATE} {folder}", disk], check=True, capture_output=True)
    return folder / STATE.name
