"""An upgrade keeps config and recordings, the robot disarmed; one that does not become ready is rolled back.

The machine `upgraded` was made by an upgrade; a second one begins here.
"""

from __future__ import annotations

import pytest

from tests.rig.harness.build import INSTALL_S, KEPT, UPGRADE
from tests.rig.harness.rig import Rig

pytestmark = [pytest.mark.virtual, pytest.mark.long(5), pytest.mark.upgraded]


def release(rig: Rig) -> str:
    return rig.sh("readlink /opt/reflexd/current").strip()


def test_upgrade(rig: Rig) -> None:
    first, *kept = rig.sh("cat /var/tmp/before").splitlines()
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

    rig.sh("echo 'raise SystemExit(\"a release that does not start\")' >> /usr/src/reflexd/runtime/daemon.py")
    done = rig.run(f"{UPGRADE} EXTRAS=", timeout_s=INSTALL_S)  # with less in it, it is built sooner
    assert done.code != 0, f"a release that does not start was taken: {done}"
    assert release(rig) == second, "the old release is back"
    rig.safe_after_start()
    assert set(kept) <= set(rig.sh(KEPT).splitlines())
    rig.note(f"{first} to {second}, then rolled back from one that does not start")
    rig.run_policy()
    rig.request("disarm")
