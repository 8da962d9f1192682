"""Looks at the disk of a machine that has lost its power, without booting it."""

from __future__ import annotations

import subprocess
from pathlib import Path


def recordings(disk: Path, folder: Path) -> list[Path]:
    """The recordings on a root disk, copied into `folder`, after the journal's replay, as at the next boot."""
    raw = folder / "root.raw"
    subprocess.run(
        ["qemu-img", "convert", "-W", "-T", "unsafe", "-t", "unsafe", "-O", "raw", disk, raw],
        check=True,
        capture_output=True,
    )
    repaired = subprocess.run(["e2fsck", "-fp", raw], capture_output=True, text=True, check=False)
    if repaired.returncode > 1:
        raise OSError(f"e2fsck: {repaired.stdout}")
    target = folder / "recordings"
    target.mkdir(exist_ok=True)
    command = f"rdump /var/lib/reflexd/rig/recordings {target}"
    subprocess.run(["debugfs", "-R", command, raw], check=True, capture_output=True)
    raw.unlink()
    return sorted(target.rglob("*.mcap"))
