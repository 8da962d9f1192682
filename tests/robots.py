"""Robots of any size for benchmarks and system tests: a config and a MuJoCo model of independent hinges."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_PORTS = {
    "damiao": 'interface = "unix"\nchannel = "{{run}}/{name}"',
    "dynamixel": 'port = "{{run}}/{name}"',
}
_MOTORS = {
    "damiao": 'model = "DM4310"\nkp = 20.0\nkd = 2.0\ntorque_max = 9.0',
    "dynamixel": 'model = "XM430-W350"',
}


def write(folder: Path, buses: Sequence[tuple[str, int]], rate: float, more: str = "", estop: bool = True) -> Path:
    """Write `robot.toml` and `robot.xml` into `folder`; returns the config.

    `buses`: driver and number of joints of each; joints are called j0, j1, ... `more`: TOML to add.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = sum(joints for _, joints in buses)
    bodies = "".join(
        f'<body pos="{i * 0.2} 0 1">'
        f'<joint name="j{i}" axis="0 1 0" frictionloss="0.15" armature="0.05" range="-3 3"/>'
        '<geom type="capsule" size="0.02" fromto="0 0 0 0 0 -0.1" contype="0" conaffinity="0"/></body>'
        for i in range(count)
    )
    actuators = "".join(f'<motor joint="j{i}"/>' for i in range(count))
    (folder / "robot.xml").write_text(
        f'<mujoco><compiler angle="radian"/><option timestep="0.004"/><worldbody>{bodies}</worldbody>'
        f"<actuator>{actuators}</actuator></mujoco>"
    )
    wired = '[safety.estop]\ntype = "emulated"\npath = "{run}/gpio.sock"\nline = "estop"'
    lines = [
        '[robot]\nname = "hinges"',
        # A shared machine can be away for longer than a robot should tolerate.
        f"[control]\nrate = {rate}\nmissed_limit = {round(0.3 * rate)}\n[safety]\nstall = 0.3",
        wired if estop else "",
        '[safety.drive_enable]\ntype = "emulated"\npath = "{run}/gpio.sock"\nline = "drive_enable"',
        '[emulated]\nmodel = "robot.xml"',
    ]
    joint = 0
    for number, (kind, joints) in enumerate(buses):
        name = f"b{number}"
        head = f'[[bus]]\nname = "{name}"\ntype = "{kind}"\nwatchdog = 0.5\n'
        lines.append(head + _PORTS[kind].format(name=name))
        for motor in range(joints):
            lines.append(
                f'[[joint]]\nname = "j{joint}"\nbus = "{name}"\nid = {motor + 1}\n{_MOTORS[kind]}\n'
                "position_min = -2.5\nposition_max = 2.5\nvelocity_max = 5.0\nacceleration_max = 50.0"
            )
            joint += 1
    config = folder / "robot.toml"
    config.write_text("\n".join(lines) + "\n" + more)
    return config
