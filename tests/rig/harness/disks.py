"""Looks at the disk of a machine that has lost its power, without booting it."""

from __future__ import annotations

import subprocess
from pathlib import Path


def raw(disk: Path, target: Path) -> None:
    """Write the content of a disk into a raw file."""
    subprocess.run(
        ["qemu-img", "convert", "-W", "-T", "unsafe", "-t", "unsafe", "-O", "raw", disk, target],
        check=True,
        capture_output=True,
    )


def recordings(disk: Path, folder: Path) -> list[Path]:
    """The recordings on a raw root disk, copied into `folder`, after the journal's replay, as at the next boot."""
    repaired = subprocess.run(["e2fsck", "-fp", disk], capture_output=True, text=True, check=False)
    if repaired.returncode > 1:
        raise OSError(f"e2fsck: {repaired.stdout}")
    target = folder / "recordings"
    target.mkdir(exist_ok=True)
    command = f"rdump /var/lib/reflexd/rig/recordings {target}"
    subprocess.run(["debugfs", "-R", command, disk], check=True, capture_output=True)
    return sorted(target.rglob("*.mcap"))
