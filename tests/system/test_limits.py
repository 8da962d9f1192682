"""The envelope's optional limits in the real daemon, as `limits` tells of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system


def test_limits_are_told_by_joint(make_rig: Callable[..., Any]) -> None:
    rig = make_rig("joint.j0.jerk_max=500.0", "joint.j2.torque_rate_max=20.0", "joint.j3.smoothing=0.2")

    def limits() -> dict[str, dict[str, Any]]:
        return {told["name"]: told for told in rig.daemon.request("limits")}

    assert all(told["now"] == [] for told in limits().values())
    rig.daemon.request("arm")
    rig.daemon.request("move", joints={"j0": 0.5, "j1": -0.5, "j2": 1.0, "j3": -0.4})
    rig.wait(lambda: abs(rig.positions()[3] + 0.4) < 0.05 and abs(rig.positions()[0] - 0.5) < 0.05, what="there")
    told = limits()
    assert told["j0"]["jerk"] > 0
    assert told["j1"]["acceleration"] > 0
    assert told["j2"]["torque"] > 0
    assert [told[name]["jerk"] for name in ("j1", "j2", "j3")] == [0, 0, 0]
    assert [told[name]["torque"] for name in ("j0", "j1", "j3")] == [0, 0, 0]
    rig.daemon.request("disarm")


def test_a_robot_stops_before_the_border_of_its_workspace(make_rig: Callable[..., Any], tmp_path: Path) -> None:
    bodies = "".join(
        f'<body name="b{i}" pos="0 {i} 1"><joint name="j{i}" axis="0 1 0"/><geom size="0.1"/></body>'
        for i in range(4)
    ).replace("</body>", '<site name="tip" pos="0.5 0 0"/></body>', 1)
    (tmp_path / "arm.xml").write_text(f"<mujoco><worldbody>{bodies}</worldbody></mujoco>")
    plane = "{normal=[0.0,0.0,1.0],offset=0.85}"
    rig = make_rig(f'safety.workspace={{model="{tmp_path}/arm.xml",tool="tip",planes=[{plane}]}}')
    rig.daemon.request("arm")
    rig.daemon.request("move", joints={"j0": 1.5, "j1": 1.0})
    every = ["j0", "j1", "j2", "j3"]
    rig.wait(
        lambda: (
            [told["name"] for told in rig.daemon.request("limits") if told["now"] == ["workspace"]] == every
            and not any(rig.moving())
        ),
        what="all joints are stopped",
    )
    assert 1 - 0.5 * math.sin(rig.daemon.request("joints")[0]["goal"]) > 0.85
    rig.daemon.request("move", joints={"j0": -0.2, "j1": 0.6})
    rig.wait(lambda: abs(rig.positions()[0] + 0.2) < 0.05 and abs(rig.positions()[1] - 0.6) < 0.05, what="back")
    assert rig.status()["limits"]["workspace"] > 0
