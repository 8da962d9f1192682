"""What a config says about a Damiao bus, and everything that can be wrong with it before a motor was asked."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from drivers.bus import BusOptions, CycleTime
from drivers.joint import Joint
from drivers.motors.damiao.frames import STEPS, encode
from drivers.motors.damiao.limits import KD_MAX, KP_MAX, MODELS, least

ID_MAX = 0xFF
"""The commands of the other modes go to 0x100 + id, 0x200 + id and 0x300 + id."""
_FRAME_BITS = 135  # a standard frame with eight bytes, the gap behind it and as many stuff bits as can be


class DamiaoOptions(BusOptions):
    """Damiao DM motors in MIT mode on a CAN bus."""

    interface: str = "socketcan"
    """How the bus is reached: `socketcan`, `unix` (a socket that carries CAN frames, for emulated robots), or the
    name of a python-can interface (slower; for the bench)."""
    channel: str
    """Network interface (`can0`), path of the socket, or what the python-can interface calls its channel."""
    bitrate: int = Field(default=1_000_000, gt=0)
    """Bit rate of the bus, bit/s. A `socketcan` interface is brought up by the system with the same rate."""
    reply_offset: int = Field(default=0x10, ge=1, le=0x7FE)
    """Every motor answers on CAN id `id + reply_offset`; its parameter MST_ID (7) has to say the same."""
    watchdog: float = Field(default=0.1, ge=0.05, le=2.0)
    """A motor that gets no frame for this long (s) switches itself off."""


def cycle_time(options: DamiaoOptions, joints: Sequence[Joint]) -> CycleTime:
    """Worst-case time of one command to and one reply from every motor."""
    count = len(joints)
    seconds = count * 2 * _FRAME_BITS / options.bitrate
    return CycleTime(
        seconds,
        f"{count} motors x 2 frames (command and reply) x {_FRAME_BITS} bits (8 bytes, worst-case bit stuffing) "
        f"at {options.bitrate} bit/s = {seconds * 1e3:.3f} ms",
    )


def problems(options: DamiaoOptions, joints: Sequence[Joint]) -> list[str]:
    """What is wrong with these joints on this bus, all at once."""
    return _identities(options, joints) + [text for joint in joints for text in _joint(joint)]


def _identities(options: DamiaoOptions, joints: Sequence[Joint]) -> list[str]:
    found = []
    owner: dict[int, str] = {}
    for joint in joints:
        if joint.id in owner:
            found.append(
                f"joint {joint.name}: id {joint.id:#x} belongs to joint {owner[joint.id]} already; "
                "every motor on a bus needs its own"
            )
        owner.setdefault(joint.id, joint.name)
        if not 1 <= joint.id <= ID_MAX:
            found.append(f"joint {joint.name}: id {joint.id:#x}; expected 0x1 to {ID_MAX:#x}")
    commands = {mode + can_id: name for can_id, name in owner.items() for mode in (0, 0x100, 0x200, 0x300)}
    for joint in joints:
        reply = joint.id + options.reply_offset
        if reply in commands:
            found.append(
                f"joint {joint.name}: it would answer on id {reply:#x}, on which the motor of joint "
                f"{commands[reply]} listens; change the ids or reply_offset (now {options.reply_offset:#x})"
            )
        elif reply >= 0x7FF:
            found.append(f"joint {joint.name}: reply id {reply:#x}; expected less than 0x7ff, lower reply_offset")
    return found


def _joint(joint: Joint) -> list[str]:
    if joint.model not in MODELS:
        return [f"joint {joint.name}: unknown model {joint.model}; known are {', '.join(MODELS)}"]
    found = []
    for key in ("kp", "kd", "torque_max"):
        if getattr(joint, key) is None:
            found.append(f"joint {joint.name}: {key} is missing; a motor in MIT mode needs it")
    found += _gains(joint)
    limits, ratio = least(joint.model), joint.reduction
    if joint.torque_max is not None and joint.torque_max > limits.torque * ratio:
        found.append(
            f"joint {joint.name}: torque_max {joint.torque_max:g} Nm; a {joint.model} with reduction {ratio:g} "
            f"has at most {limits.torque * ratio:g} Nm"
        )
    ends = sorted((joint.to_motor(joint.position_min), joint.to_motor(joint.position_max)))
    if ends[0] < -limits.position or ends[1] > limits.position:
        found.append(
            f"joint {joint.name}: position_min and position_max are {ends[0]:.3f} and {ends[1]:.3f} rad at the "
            f"motor, which a {joint.model} counts from {-limits.position:g} to {limits.position:g} rad; narrow "
            "the range or move the motor's zero"
        )
    return found


def _gains(joint: Joint) -> list[str]:
    found = []
    steps = {}
    for key, unit, top in (("kp", "Nm/rad", KP_MAX), ("kd", "Nms/rad", KD_MAX)):
        given = getattr(joint, key) or 0.0
        at_motor = given / joint.reduction**2
        steps[key] = encode(at_motor, 0.0, top, STEPS)
        if at_motor > top:
            found.append(
                f"joint {joint.name}: {key} {given:g} {unit} is {at_motor:g} {unit} at the motor; "
                f"a command carries at most {top:g}"
            )
        elif given > 0 and steps[key] == 0:
            found.append(
                f"joint {joint.name}: {key} {given:g} {unit} is {at_motor:g} {unit} at the motor, less than the "
                f"smallest step of a command ({top / STEPS:.3g})"
            )
    if (joint.kp or 0.0) > 0 and joint.kd is not None and steps["kd"] == 0:
        found.append(f"joint {joint.name}: kp without kd makes the motor oscillate; give kd a value above 0")
    return found
