"""An upgrade keeps config and recordings, the robot disarmed; one that does not become ready is rolled back."""

from __future__ import annotations

import pytest

from tests.rig.harness.rig import Rig

pytestmark = [pytest.mark.virtual, pytest.mark.long(5)]
LIMIT_S = 600.0
MAKE = "cd /usr/src/reflexd && make upgrade WHEELS=wheels"
KEPT = "sha256sum /etc/reflexd/* | sort; ls /var/lib/reflexd/rig/recordings"


def release(rig: Rig) -> str:
    return rig.sh("readlink /opt/reflexd/current").strip()


def test_upgrade(rig: Rig) -> None:
    rig.run_policy()
    kept, first = rig.sh(KEPT).splitlines(), release(rig)
    refused = rig.run(MAKE, timeout_s=60.0)
    assert refused.code != 0, "an energised robot is not upgraded"
    assert release(rig) == first
    rig.request("disarm")

    rig.sh(MAKE, LIMIT_S)
    second = release(rig)
    assert second != first
    rig.safe_after_start()
    assert set(kept) <= set(rig.sh(KEPT).splitlines()), "configs and recordings are kept"

    rig.sh("echo 'raise SystemExit(\"a release that does not start\")' >> /usr/src/reflexd/runtime/daemon.py")
    done = rig.run(f"{MAKE} EXTRAS=", timeout_s=LIMIT_S)  # with less in it, it is built sooner
    assert done.code != 0, f"a release that does not start was taken: {done}"
    assert release(rig) == second, "the old release is back"
    rig.safe_after_start()
    assert set(kept) <= set(rig.sh(KEPT).splitlines())
    rig.note(f"{first} to {second}, then rolled back from one that does not start")
    rig.allowed.add("files")
    rig.run_policy()
    rig.request("disarm")
