"""`reload` on the real daemon: the values of the command line still win, and a robot with torque is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from runtime.link.errors import Refused

pytestmark = pytest.mark.system


def test_reload(make_rig: Callable[..., Any]) -> None:
    rig = make_rig("safety.stall=0.25", "policy.command={vx={min=-1.0,max=1.0}}")
    path = rig.config.path
    assert rig.daemon.request("reload") == {"changed": []}
    good = path.read_text()
    path.write_text(good.replace("rate = 200.0", "rate = 100.0"))
    with pytest.raises(Refused) as refused:
        rig.daemon.request("reload")
    assert refused.value.reasons == ("control.rate",)
    assert rig.status()["rate_hz"] == 200.0
    path.write_text(f"{good}\n[[policy.schedule]]\nat = 0.0\nset = {{ vx = 0.5 }}\n")
    rig.daemon.request("arm")
    with pytest.raises(Refused, match="HOLD"):
        rig.daemon.request("reload")
    rig.daemon.request("disarm")
    assert rig.daemon.request("reload") == {"changed": ["policy.schedule"]}
    assert [name for name in rig.events() if name.startswith("config.")] == [
        "config.reloaded",
        "config.refused",
        "config.refused",
        "config.reloaded",
    ]
    rig.run_policy()
    assert rig.status()["commands"] == {"vx": 0.5}
