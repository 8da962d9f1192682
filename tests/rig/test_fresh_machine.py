"""docs/install.md followed literally on a fresh Debian: a running service, a moving robot, and all gone again."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.rig.harness import build, page
from tests.rig.harness.agent import MachineGone
from tests.rig.harness.build import Frozen

pytestmark = [pytest.mark.virtual, pytest.mark.long(1)]
TRY = "Try it: an emulated robot as a service"
SOURCE = "/usr/src/reflexd"
FILES = f"find / -xdev ! -type d ! -path '{SOURCE}/*' ! -path '/tmp/*' | sort"
USERS = ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
OF_THE_MACHINE = ("/var/log/", "/var/lib/systemd/", "/home/alex/", *(f"/etc/{name}-" for name in USERS))
"""What it writes by itself, and what a user brings along."""
KEPT = {"/etc/reflexd/mine.toml", "/var/lib/reflexd/mine.mcap"}


def test_fresh_machine(ready: Frozen, results: Path, disks: Path) -> None:
    """Its section `Install` has made the machine that this one goes on with."""
    qemu = build.installed().thaw(disks)
    try:
        root, group, operator, away = page.blocks(TRY)

        def run(commands: str, user: str | None = None, limit_s: float = 120.0) -> str:
            done = qemu.agent.run(["bash", "-ec", commands], user, limit_s)
            assert done.code == 0, f"{commands}\n{done}"
            return done.out

        run("useradd --create-home alex")
        run(root)
        assert not (told := run("systemd-analyze verify reflexd@hinges.service 2>&1")), told
        run("systemd-analyze security --no-pager --threshold=20 reflexd@hinges.service")
        run(group)
        *before, joints, disarm = operator.splitlines()
        deadline = time.monotonic() + 60.0
        for command in before:
            while qemu.agent.run(["bash", "-c", command], "alex").code and time.monotonic() < deadline:
                time.sleep(1.0)  # the policy's worker may still be loading its model
        first = run(joints, "alex")
        while (later := run(joints, "alex")) == first:
            assert time.monotonic() < deadline, f"nothing moves:\n{first}"
        run(disarm, "alex")
        (results / "joints.txt").write_text(first + later)
        run(away)
        run(f"touch {' '.join(KEPT)}")
        run(f"cd {SOURCE} && {page.commands('Uninstall', 0)}")
        run("test ! -e /run/reflexd")
        left = set(run(FILES).splitlines()) - files_before(disks / "before")
        assert {path for path in left if not path.startswith(OF_THE_MACHINE)} == KEPT
    finally:
        with suppress(MachineGone):
            (results / "journal.txt").write_text(qemu.agent.run(["journalctl", "--no-pager", "-b"]).out)
        qemu.kill()
        shutil.copy(disks / "console.txt", results)


def files_before(folder: Path) -> set[str]:
    """All files of the machine before the installation."""
    folder.mkdir()
    qemu = build.fresh().thaw(folder)
    try:
        return set(qemu.agent.run(["bash", "-c", FILES], None, 120.0).out.splitlines())
    finally:
        qemu.kill()
