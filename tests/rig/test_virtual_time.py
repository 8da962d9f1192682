"""In virtual time (QEMU counts instructions) a stall is seen where it is configured, within one tick."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.harness import faults
from tests.rig.harness.build import Frozen
from tests.rig.harness.rig import UNIT, Rig
from tests.rig.harness.target import VirtualTarget

pytestmark = [pytest.mark.virtual, pytest.mark.long(2)]
TICK_S = 1 / 25
STALL_S = 0.4
TRIES = 5


def test_virtual_time(ready: Frozen, results: Path, disks: Path, request: pytest.FixtureRequest) -> None:
    qemu = ready.boot(disks, virtual_time=True)
    rig = Rig(VirtualTarget(qemu))
    request.node.user_properties.append(("facts", rig.facts))
    try:
        rig.sh(f"until systemctl is-active --quiet {UNIT}; do sleep 1; done", 240.0)
        faults.faulty_daemon(rig)
        ages = []
        for _ in range(TRIES):
            rig.arm()
            faults.break_loop(rig, "block", 1.2)
            rig.wait(lambda: rig.mode() == "FAULT", what="mode FAULT")
            event = rig.event("safety.torque_off")
            assert event is not None
            ages.append(event["fields"]["beat_age_ms"] / 1e3)
            rig.reset()
        late = [age - STALL_S for age in ages]
        rig.note(f"stall of {STALL_S} s seen after {', '.join(f'{age * 1e3:.1f}' for age in ages)} ms")
        assert all(0 <= spare <= TICK_S for spare in late), f"s late: {late}"
    finally:
        (results / "journal.txt").write_text(rig.run("journalctl --no-pager -o short-monotonic -b").out)
        qemu.kill()
