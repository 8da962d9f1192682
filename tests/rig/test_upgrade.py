"""An upgrade keeps config and recordings, the robot disarmed; one that does not become ready is rolled back.

The robot was upgraded once before it begins; a second upgrade is tried here.
"""

from __future__ import annotations

import pytest

from tests.rig.harness.build import INSTALL_S, run_once
from tests.rig.harness.rig import Rig

pytestmark = [pytest.mark.virtual, pytest.mark.long(5)]
UPGRADE = "cd /usr/src/reflexd && make upgrade WHEELS=wheels"
KEPT = (
    "sha256sum /etc/reflexd/*; "
    # Only the names: a segment moves to another folder when it is whole.
    "find /var/lib/reflexd/rig/recordings -name '*.mcap' -printf '%f\\n'"
)
"""What an upgrade has to keep."""
BEFORE = "/var/tmp/before"
"""The first release, then what it had."""


def release(rig: Rig) -> str:
    return rig.sh("readlink /opt/reflexd/current").strip()


def upgraded(rig: Rig) -> None:
    """After the run that was recorded when the machine was made ready."""
    rig.sh(f"(readlink /opt/reflexd/current; {KEPT}) > {BEFORE}")
    rig.sh(UPGRADE, INSTALL_S)
    run_once(rig)


@pytest.mark.prepared(how=upgraded)
def test_upgrade(rig: Rig) -> None:
    first, *kept = rig.sh(f"cat {BEFORE}").splitlines()
    second = release(rig)
    assert second != first
    rig.safe_after_start()
    assert any(".mcap" in line for line in kept)
    assert set(kept) <= set(rig.sh(KEPT).splitlines()), "configs and recordings are kept"

    rig.run_policy()
    refused = rig.run(UPGRADE, timeout_s=60.0)
    assert refused.code != 0, "an energised robot is not upgraded"
    assert release(rig) == second
    rig.request("disarm")

    defect = 'raise SystemExit("a release that does not start")'
    rig.sh(f"sed -i '/^from __future__/a {defect}' /usr/src/reflexd/runtime/daemon.py")
    done = rig.run(f"{UPGRADE} EXTRAS=", timeout_s=INSTALL_S)  # with less in it, it is built sooner
    assert done.code != 0, f"a release that does not start was taken: {done}"
    assert release(rig) == second, "the old release is back"
    rig.safe_after_start()
    assert set(kept) <= set(rig.sh(KEPT).splitlines())
    rig.note(f"{first} to {second}, then rolled back from one that does not start")
    rig.run_policy()
    rig.request("disarm")
