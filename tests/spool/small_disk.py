"""A small ext4 file system of its own, through a loop device, and somebody who fills it. Needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_TOOLS = ("mkfs.ext4", "mount", "umount", "losetup")


def why_not() -> str:
    """Why there can be none here; empty when there can."""
    if os.geteuid() != 0:
        return "a small file system needs root"
    missing = [tool for tool in _TOOLS if shutil.which(tool, path="/usr/sbin:/sbin:/usr/bin:/bin") is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    free = subprocess.run(["losetup", "-f"], capture_output=True, text=True)
    return "" if free.returncode == 0 else f"no loop device: {free.stderr.strip()}"


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Where it is mounted. `size`: bytes."""
    image, mounted = folder / "image", folder / "disk"
    with image.open("wb") as file:
        file.truncate(size)
    mounted.mkdir()
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "-l", mounted], check=True)


def fill(path: Path) -> None:
    """Have a file take all the room that there is."""
    with suppress(OSError), path.open("ab", buffering=0) as file:
        for block in (65536, 4096):
            with suppress(OSError):
                while True:
                    file.write(bytes(block))
